"""Numba's options and its disk cache, in one place.

No fastmath and no contraction: error-free transformations depend on every rounding.  The disk cache is keyed by a hash
of all kernel sources, because Numba itself looks only at the file of the outermost function and would go on using
machine code whose inner functions have since been edited in another file.
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import ClassVar

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.misc.appdirs import AppDirs

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False}


def row(function):
    """Compile one row's formula: called from compiled loops, never from Python."""
    return numba.njit(**_OPTIONS)(function)


def inline(function):
    """Compile what stands in a hot loop as a part of it, always: a call would send all vectors through memory."""
    return numba.njit(**_OPTIONS, forceinline=True)(function)


def primitive(function):
    """What a function means in plain Python becomes the compiled operation of the same name."""
    if numba.config.DISABLE_JIT:
        return function
    from emdref.kernels import simd

    return getattr(simd, function.__name__)


def loop(function):
    """Compile a loop over rows, the only kind of kernel that Python calls, and keep the machine code on disk."""
    dispatcher = numba.njit(**_OPTIONS)(function)
    if cache_folder() is not None and hasattr(dispatcher, "enable_caching"):  # a plain function with the JIT disabled
        dispatcher._cache = _SourcesCache(dispatcher.py_func)
    return dispatcher


@functools.lru_cache(maxsize=1)
def cache_folder() -> "Path | None":
    """The folder for compiled code, private to the user, or None where there is none to write to.

    ``EMDREF_CACHE_DIR`` names another folder, or switches the cache off with the value ``off``.
    """
    chosen = os.environ.get("EMDREF_CACHE_DIR", "")
    if chosen.lower() == "off":
        return None
    folder = Path(chosen or AppDirs("emdref", appauthor=False).user_cache_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        foreign = hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()
    except OSError:
        return None
    return None if foreign or not os.access(folder, os.W_OK) else folder


@functools.lru_cache(maxsize=1)
def _sources_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _SourcesLocator(_CacheLocator):
    """Tells Numba where the machine code lies and which sources it was made from."""

    def __init__(self, py_file):
        self._place = hashlib.sha256(str(py_file).encode()).hexdigest()[:16]

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return _sources_hash()

    def get_disambiguator(self):
        return self._place

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_file)


class _SourcesCacheImpl(CompileResultCacheImpl):
    _locator_classes: ClassVar = [_SourcesLocator]


class _SourcesCache(FunctionCache):
    _impl_class = _SourcesCacheImpl
