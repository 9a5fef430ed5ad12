"""Functions that are compiled once: to a library, or by Numba, which keeps them beside their source.

The library (classifier/library.py) is what images have and scripts/install builds: no process loads a compiler then.
Where it could not be built, and where the sources were changed since, Numba compiles what it has not kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bytes",
    "Flags",
    "Float64s",
    "Floats",
    "Int32s",
    "Int64s",
    "Matrix",
    "Table",
    "Vector",
    "Weights",
    "compiled",
    "library_name",
    "loaded",
    "module_name",
    "prefetch",
]

_SOURCES = ("compiled.py", "kernels.py", "steps.py", "sums.py")

log = logging.getLogger("aisle.compiled")

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Kind:
    """An array in C order: what it holds (None: what `compiled` is told), its dimensions, and whether it is only read.

    What an artifact holds is mapped from its files, and cannot be written.
    """

    holds: str | None
    dimensions: int = 1
    only_read: bool = False


# What a compiled function can be annotated with, beside int, float, bool, np.uint64 and tuples of these.
Bytes: TypeAlias = Annotated[NDArray[np.uint8], _Kind("uint8")]
Flags: TypeAlias = Annotated[NDArray[np.bool_], _Kind("bool")]
Int32s: TypeAlias = Annotated[NDArray[np.int32], _Kind("int32")]
Int64s: TypeAlias = Annotated[NDArray[np.int64], _Kind("int64")]
Float64s: TypeAlias = Annotated[NDArray[np.float64], _Kind("float64")]
Table: TypeAlias = Annotated[NDArray[np.int32], _Kind("int32", 2)]
Floats: TypeAlias = Annotated[NDArray[np.floating], _Kind(None)]
Matrix: TypeAlias = Annotated[NDArray[np.floating], _Kind(None, 2)]
Vector: TypeAlias = Annotated[NDArray[np.floating], _Kind(None, 1, only_read=True)]
Weights: TypeAlias = Annotated[NDArray[np.floating], _Kind(None, 2, only_read=True)]


def compiled(function: _Function, floats: str = "float32") -> _Function:
    """Compile a function of plain arrays for the types that it is annotated with; it needs no interpreter lock.

    Without the library, the first import on a machine takes seconds, and the later ones load what that one kept.

    Args:
        function: all its arguments and what it gives must be annotated.
        floats: what `Floats` and the like hold.
    """
    hints = get_type_hints(function, include_extras=True)
    library = _library()
    if library is not None:
        return _checked(function, getattr(library, library_name(function, floats)), hints, floats)
    import numba

    _teach_prefetch()
    given = _numba_type(hints.pop("return"), floats)
    dispatcher: Any = numba.njit(nogil=True)(function)
    if dispatcher is function:
        raise ImportError("NUMBA_DISABLE_JIT is set: without compiling, a product would take minutes. Unset it.")
    with suppress(RuntimeError):  # there is no place to keep it
        dispatcher._cache = _cache_class()(function)  # noqa: SLF001 — enable_caching() would set Numba's own
    dispatcher.compile(given(*(_numba_type(hint, floats) for hint in hints.values())))
    dispatcher.disable_compile()
    return cast(_Function, dispatcher)


def module_name() -> str:
    """Name of the library of these very sources: one of others has another name, and is not loaded."""
    sources = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
    return f"aisle_kernels_{hashlib.sha256(sources).hexdigest()[:12]}"


def loaded() -> bool:
    """Whether functions are those of the library."""
    return _library() is not None


def library_name(function: Callable[..., Any], floats: str) -> str:
    """What a function is called in the library."""
    return f"{function.__name__}_{floats}"


@lru_cache
def _library() -> Any:
    try:
        return import_module(module_name())
    except ModuleNotFoundError:
        return None
    except ImportError as error:  # of another system, or not whole
        log.warning("scripts/install built a library that cannot be loaded; Numba compiles instead: %s", error)
        return None


def prefetch(array: NDArray[Any], place: int) -> None:
    """In compiled functions, have memory bring an entry, counted in C order, that is soon to be read. Else nothing.

    What they look up lies anywhere in tables that no cache holds whole: they would mostly wait for it.
    """


@lru_cache
def _teach_prefetch() -> None:
    """Tell Numba what `prefetch` is: an instruction of the processor."""
    import numba
    from llvmlite import ir
    from numba.core import cgutils

    void, int32, address = ir.VoidType(), ir.IntType(32), ir.IntType(8).as_pointer()
    to_read, to_keep, of_data = (ir.Constant(int32, value) for value in (0, 3, 1))
    kind = ir.FunctionType(void, [address, int32, int32, int32])

    def ask(_context: Any, array: Any, place: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0]).data
            entry = builder.bitcast(builder.gep(data, [arguments[1]]), address)
            instruction = builder.module.declare_intrinsic("llvm.prefetch", (address,), kind)
            builder.call(instruction, [entry, to_read, to_keep, of_data])
            return context.get_dummy_value()

        return numba.types.void(array, place), generated

    asked: Any = numba.extending.intrinsic(ask)
    numba.extending.overload(prefetch)(lambda array, place: lambda array, place: asked(array, place))  # noqa: ARG005


def _checked(function: _Function, built: Callable[..., Any], hints: dict[str, Any], floats: str) -> _Function:
    """A function of the library, which itself would take any array for one of the right type."""
    kinds = [get_args(hint)[1] if get_origin(hint) is Annotated else None for hint in hints.values()]
    wanted = [(at, np.dtype(kind.holds or floats), kind) for at, kind in enumerate(kinds[:-1]) if kind]

    @wraps(function)
    def call(*arguments: Any) -> Any:
        for place, dtype, kind in wanted:
            array = arguments[place]
            flags = array.flags
            fits = flags.c_contiguous and flags.aligned and (kind.only_read or flags.writeable)
            if not fits or array.dtype != dtype or array.ndim != kind.dimensions:
                state = "" if fits else ", read-only or not contiguous"
                given = f"{array.dtype}, {array.ndim}d{state}"
                raise TypeError(f"argument {place} of {function.__name__}: {given}, not {dtype}, {kind.dimensions}d")
        return built(*arguments)

    return cast(_Function, call)


def _numba_type(hint: Any, floats: str) -> Any:
    import numba

    types = numba.types
    if get_origin(hint) is tuple:
        return types.Tuple(tuple(_numba_type(one, floats) for one in get_args(hint)))
    if get_origin(hint) is Annotated:
        kind = get_args(hint)[1]
        return types.Array(getattr(types, kind.holds or floats), kind.dimensions, "C", readonly=kind.only_read)
    scalars = {int: "int64", float: "float64", bool: "boolean", np.uint64: "uint64", type(None): "void"}
    return getattr(types, scalars[hint])


@lru_cache
def _cache_class() -> Any:
    from numba.core import caching
    from numba.core.runtime.nrt import rtsys

    class BesideSource(caching.InTreeCacheLocator):
        """__pycache__ of the source, also where it can only be read and whoever installed the code has filled it."""

        def ensure_cache_path(self) -> None:
            try:
                super().ensure_cache_path()
            except OSError:
                stamp = self.get_source_stamp()
                if not any(stamp in index.read_bytes() for index in Path(self.get_cache_path()).glob("*.nbi")):
                    raise

    class Kept(caching.CompileResultCacheImpl):
        _locator_classes = (caching.UserProvidedCacheLocator, BesideSource, caching.UserWideCacheLocator)

    class Cache(caching.FunctionCache):
        _impl_class = Kept

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            """What was kept; without all that Numba reads to compile, which takes longer than the rest."""
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(OSError):  # it cannot be kept: each process compiles it for itself
                super().save_overload(sig, data)

    return Cache
