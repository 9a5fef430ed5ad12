"""The compiled loops as a library, by which a process needs no compiler: python -m classifier.library [FOLDER].

Loading Numba takes time and memory of every process, whether or not there is anything to compile. The library
is for any processor of this kind. Building it needs Numba, setuptools, a C++ compiler and Python's headers.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
import warnings
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from classifier.compiled import library_name, loaded, module_name

__all__ = ["build"]


def build(folder: Path) -> Path:
    """Build the library into `folder`, in place of all that were built there before; returns its file.

    To be called in a process of its own, which has imported no compiled function yet.

    Raises:
        RuntimeError: the functions are those of a library already.
        ImportError: what was built cannot be loaded.
    """
    from numba.core.errors import NumbaPendingDeprecationWarning

    name = module_name()
    sys.modules[name] = None  # type: ignore[assignment]  # as if there were none: it is to be made of the sources
    if loaded():
        raise RuntimeError("the library that is to be built is in use here: build it in a process of its own")
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    with warnings.catch_warnings(), TemporaryDirectory(dir=folder) as own, TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore", NumbaPendingDeprecationWarning)  # until it has a successor
        tempfile.tempdir = scratch  # numba.pycc leaves some of its files behind
        try:
            _compile(name, own)
        finally:
            tempfile.tempdir = None
        spec = spec_from_file_location(name, Path(own, file))
        if spec is None:
            raise ImportError(f"{file} is no module")
        module_from_spec(spec)  # what cannot be loaded takes no library's place
        for other in folder.glob(f"{name.rpartition('_')[0]}_*"):
            other.unlink()
        return Path(own, file).rename(folder / file)


def _compile(name: str, folder: str) -> None:
    from classifier import kernels, steps, sums

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
    plain_functions = [
        one for module in (kernels, steps, sums) for one in vars(module).values() if hasattr(one, "py_func")
    ]
    functions: list[tuple[Any, str]] = [(one, "float32") for one in plain_functions]
    functions += [(one, floats.name) for both in (sums.add_product, sums.rank_reasons) for floats, one in both.items()]
    for function, floats in functions:
        export = library.export(library_name(function.py_func, floats), function.nopython_signatures[0])
        export(function.py_func)
    library.compile()


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("platlib"))))
