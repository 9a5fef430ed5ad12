"""The compiled loops as a library, by which a process needs no compiler: python -m classifier.library [FOLDER].

Loading Numba takes time and memory of every process, whether or not there is anything to compile. The library
is for any processor of this kind. Building it needs Numba, setuptools, a C++ compiler and Python's headers.
"""

from __future__ import annotations

import sys
import sysconfig
import warnings
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from classifier.compiled import library_name, loaded, module_name

__all__ = ["build"]


def build(folder: Path) -> Path:
    """Build the library into `folder`, in place of those of other sources; returns its file. What is there stays."""
    from numba.core.errors import NumbaPendingDeprecationWarning

    folder.mkdir(parents=True, exist_ok=True)
    name = module_name()
    for other in folder.glob(f"{name.rpartition('_')[0]}_*"):
        if other.name.partition(".")[0] != name:
            other.unlink()
    if not list(folder.glob(f"{name}.*")):
        with warnings.catch_warnings(), TemporaryDirectory(dir=folder) as own:  # half a file is no library
            warnings.simplefilter("ignore", NumbaPendingDeprecationWarning)  # until it has a successor
            _compile(name, own)
            for made in Path(own).iterdir():
                made.replace(folder / made.name)
    return next(folder.glob(f"{name}.*"))


def _compile(name: str, folder: str) -> None:
    from classifier import kernels, sums

    if loaded():
        raise RuntimeError(f"{name} is loaded from another folder already")
    # Without types, both.
    pycc: Any = import_module("numba.pycc")
    compiler: Any = import_module("numba.pycc.compiler")
    plain = compiler.Flags

    def flags() -> Any:
        """Of the compiler: that other threads go on meanwhile, which CC has no option for."""
        made = plain()
        made.release_gil = True
        return made

    compiler.Flags = flags
    library = pycc.CC(name)
    library.output_dir = folder
    library.target_cpu = "generic"
    plain_functions = [one for module in (kernels, sums) for one in vars(module).values() if hasattr(one, "py_func")]
    functions: list[tuple[Any, str]] = [(one, "float32") for one in plain_functions]
    functions += [(one, floats.name) for both in (sums.add_product, sums.rank_reasons) for floats, one in both.items()]
    for function, floats in functions:
        export = library.export(library_name(function.py_func, floats), function.nopython_signatures[0])
        export(function.py_func)
    library.compile()


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("platlib"))))
