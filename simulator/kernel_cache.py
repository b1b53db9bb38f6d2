"""The `kernel` decorator: numba with a machine-code cache that knows all kernel sources.

numba's own cache looks at one file only and goes stale when a called file changes, and it writes beside the source,
which fails in a read-only install. Here the cache folder is named by the hash of every kernel source, numba,
llvmlite and the CPU; where no folder can be written, kernels are compiled in memory with one notice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from numba.core import caching, ccallback, dispatcher

from .cache import CacheNotice, cache_root, content_hash, writable_folder

F = TypeVar("F", bound=Callable[..., Any])
HERE = Path(__file__).parent
KERNEL_FILES = (
    "kernel_cache.py", "kernels.py", "lu.py", "rosenbrock.py", "rates.py", "sensitivity.py", "simd.py", "status.py",
)  # fmt: skip
"""Every file that holds machine code called from another; a change in any of them recompiles all."""


@lru_cache(maxsize=1)
def kernels_hash() -> str:
    """Return the hash of all that decides the machine code: kernel sources, numba, llvmlite and CPU."""
    import llvmlite.binding as llvm

    sources = [(HERE / name).read_bytes() for name in KERNEL_FILES]
    cpu = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return content_hash(*sources, numba.__version__, llvmlite.__version__, cpu)


def kernel_folder() -> Path | None:
    """Return the folder of compiled kernels for the present sources, or `None` where nothing can be written."""
    root = writable_folder("kernels")
    return None if root is None else root / kernels_hash()


def kernels_are_cached(kernel: str = "rosenbrock.integrate") -> bool:
    """Tell whether a kernel has been compiled before, by these sources and on this CPU."""
    folder = cache_root() / "kernels" / kernels_hash()
    return folder.is_dir() and any(folder.glob(f"{kernel}-*.nbc"))


class _Locator(caching._CacheLocator):
    """Place numba's cache files of this package's kernels (and of generated rate functions) in our folder."""

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder = folder
        self._py_file = str(source)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return kernels_hash()

    def get_disambiguator(self) -> str:
        return content_hash(Path(self._py_file).stem)[:10]

    @classmethod
    def from_function(cls, py_func: object, py_file: str) -> _Locator | None:
        path = Path(py_file)
        ours = path.parent == HERE and path.name in KERNEL_FILES
        generated = path.parent == cache_root() / "rates"
        folder = kernel_folder() if ours or generated else None
        if folder is None:
            return None
        locator = cls(folder, path)
        locator.ensure_cache_path()
        return locator


class _CheckedCache(caching.FunctionCache):
    """numba's cache of one function, in which a damaged entry of ours is compiled again instead of raising."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever unpickling or linking of damaged bytes may raise
            if not isinstance(self._impl.locator, _Locator):
                raise
            warnings.warn(
                f"the compiled {self._name} is damaged and is compiled again ({error})", CacheNotice, stacklevel=2
            )
            self.flush()
            return None


caching.CacheImpl._locator_classes.insert(0, _Locator)
# njit and cfunc look the class up under these names; for functions of others it behaves as before
for module in (dispatcher, ccallback):
    setattr(module, "FunctionCache", _CheckedCache)  # noqa: B010 (the modules have no annotations)


def kernel(function: F) -> F:
    """Compile `function` to machine code: no Python inside, no GIL, IEEE division, cached where possible.

    Arrays are not reference-counted in it, so that nothing can be allocated or returned as an array: counting those of
    the tables, hundreds of atomic operations per call, took half of the time of a small network.
    """
    return numba.njit(error_model="numpy", nogil=True, _nrt=False, cache=kernel_folder() is not None)(function)


def inlined(function: F) -> F:
    """Compile `function` as a part of the kernels that call it, to share their code without the price of a call."""
    return numba.njit(error_model="numpy", nogil=True, _nrt=False, forceinline=True)(function)
