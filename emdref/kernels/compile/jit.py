"""Numba's options and its disk cache, in one place.

No fastmath and no contraction: error-free transformations depend on every rounding.  The disk cache is keyed by a hash
of the sources that a kernel uses: its own file and those of `emdref.kernels` that this imports, directly or through
others.  Numba itself looks only at the file of the outermost function and would go on using machine code whose inner
functions have since been edited in another file; and a hash of all files would compile all kernels again for one edit.

Two more things keep one function from running another's machine code:

* Numba tells closures of one factory apart by a number that it counts up in each process, so a process may load from
  disk a symbol that it has itself given to a sibling (the log domain's instead of the linear one's), and the linker
  then takes either (numba/numba#10486).  `row` and `inline` therefore give every function a name of its own.
* Numba numbers the files of a function, and two processes that save at a time take the same number.  Here a file is
  named after what it was compiled for, says so inside, and is not believed otherwise.
"""

import contextlib
import functools
import gc
import hashlib
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.misc.appdirs import AppDirs

from emdref.kernels.compile import linking

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}


def row(function: Callable[..., Any]) -> Any:
    """Compile one row's formula: called from compiled loops, never from Python."""
    return _inner(numba.njit(**_OPTIONS, **linking.options())(_unique(function)))


def inline(function: Callable[..., Any]) -> Any:
    """Compile what stands in a hot loop as a part of it, always: a call would send all vectors through memory."""
    return _inner(numba.njit(**_OPTIONS, forceinline=True, **linking.options())(_unique(function)))


def _inner(dispatcher: Any) -> Any:
    """Compile a call with a literal, f(x, 0), as one with any number of its type, and not once more; refuse Python's
    calls, for which there is no way in."""
    if hasattr(dispatcher, "get_call_template"):  # a plain function with the JIT disabled
        template = dispatcher.get_call_template
        dispatcher.get_call_template = lambda args, kws: template(tuple(map(types.unliteral, args)), kws)
        dispatcher._insert = lambda *_, **__: None  # where Numba looks for a way in
        dispatcher._compile_for_args = functools.partial(_refuse, dispatcher.__name__)
    return dispatcher


def _refuse(name: str, *_: Any, **__: Any) -> None:
    raise TypeError(f"{name} is a part of compiled loops: make a `loop` that calls it")


def _unique(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__qualname__ += "_" + uuid.uuid4().hex[:16]
    return function


def is_disabled() -> bool:
    """Whether all functions stay plain Python."""
    return bool(numba.config.DISABLE_JIT)


def loop(function: Callable[..., Any]) -> Any:
    """Compile a loop over rows, the only kind of kernel that Python calls, and keep the machine code on disk."""
    dispatcher = numba.njit(**_OPTIONS, no_cfunc_wrapper=True)(function)
    if hasattr(dispatcher, "enable_caching"):  # a plain function with the JIT disabled
        dispatcher.compile = _uncollected(dispatcher.compile)
        if cache_folder() is not None:
            dispatcher._cache = _SourcesCache(dispatcher.py_func)
    return dispatcher


def straight(kernel: Any, arguments: tuple[Any, ...]) -> Any:
    """The machine code of a `loop` for arguments of these types, now compiled, which looks at no types any more.

    Who calls it answers for them; only whether an array can be written to does not matter.  None for what is no loop of
    Numba's, or has no code for these types.
    """
    try:
        return kernel.compile(tuple(map(numba.typeof, arguments)))
    except Exception:  # of another's kernel, or no dispatcher at all
        return None


def _uncollected(compile_: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile without garbage collection, which would look through all that Numba makes, again and again."""

    @functools.wraps(compile_)
    def compiled(signature: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()
        try:
            return compile_(signature)
        finally:
            if collects:
                gc.enable()

    return compiled


@functools.lru_cache(maxsize=1)
def cache_folder() -> "Path | None":
    """The folder for compiled code, private to the user, or None where there is none.

    ``EMDREF_CACHE_DIR`` names another folder, or switches the cache off with the value ``off``.  A folder that cannot
    be written to is read.
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
    return None if foreign or not os.access(folder, os.R_OK | os.X_OK) else folder


_ROOT = Path(__file__).parents[2]  # the folder of the package
_IMPORT = re.compile(r"^\s*from (emdref\.kernels[\w.]*) import ([^\n(]+|\([^)]*\))", re.MULTILINE)


def sources(path: Path) -> "frozenset[Path]":
    """The file of a kernel and those of `emdref.kernels` whose code is in its machine code."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += _imported(one)
    return frozenset(found)


@functools.cache
def _imported(path: Path) -> "tuple[Path, ...]":
    """The kernel modules that a file imports, wherever in it."""
    found: list[Path] = []
    for package, names in _IMPORT.findall(path.read_text(encoding="utf-8")):
        folder = _ROOT.joinpath(*package.split(".")[1:])
        modules = [folder / f"{name.split()[0]}.py" for name in names.strip("()\n ").split(",") if name.strip()]
        found += [module for module in (folder.with_suffix(".py"), *modules) if module.is_file()]
    return tuple(found)


@functools.cache
def _stamp(path: Path) -> str:
    digest = hashlib.sha256()
    for one in sorted(sources(path)):
        digest.update(one.name.encode() + b"\0" + one.read_bytes())
    return digest.hexdigest()


class _SourcesLocator(_CacheLocator):
    """Tells Numba where the machine code lies and which sources it was made from."""

    def __init__(self, py_file: str) -> None:
        self._file = Path(py_file)
        self._place = hashlib.sha256(str(py_file).encode()).hexdigest()[:16]

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return _stamp(self._file)

    def get_disambiguator(self) -> str:
        return self._place

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_SourcesLocator":
        return cls(py_file)


class _SourcesCacheImpl(CompileResultCacheImpl):
    _locator_classes: ClassVar[list[type[Any]]] = [_SourcesLocator]


class _NamedFiles(IndexDataCacheFile):
    """Machine code in files named after the key (types, processor, byte code), with stamp and key inside.

    What cannot be read is compiled again, whatever is wrong with it.
    """

    def save(self, key: Any, data: Any) -> None:
        number = int(hashlib.sha256(repr(key).encode()).hexdigest()[:12], 16)
        self._save_data(self._data_name(number), (self._source_stamp, key, data))
        self._save_index({**self._load_index(), key: self._data_name(number)})

    def load(self, key: Any) -> Any:
        stamp, kept, data = super().load(key) or (None, None, None)
        return data if (stamp, kept) == (self._source_stamp, key) else None

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:
            return {}

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)
        except Exception:
            return None


class _SourcesCache(FunctionCache):
    _impl_class = _SourcesCacheImpl

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        folder, stamp = self._impl.locator.get_cache_path(), self._impl.locator.get_source_stamp()
        self._cache_file = _NamedFiles(folder, self._impl.filename_base, stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a folder that is read-only or full: it is compiled again next time
            super().save_overload(sig, data)
