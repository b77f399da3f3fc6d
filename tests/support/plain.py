"""emdref as plain Python, whatever the process has already imported, and with edits of its source if asked.

The kernels' decorators are replaced by nothing, as NUMBA_DISABLE_JIT=1 does, and Numba is not even imported: that is
what makes a mutant cheap.  Also the small spaces, pairs and exact answers that tests of plain kernels share.
"""

import functools
import importlib
import importlib.machinery
import sys
import types
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

import oracles

PACKAGE = Path(__file__).resolve().parents[2] / "emdref"
_JIT = "emdref.kernels.compile.jit"


class _Source(importlib.machinery.SourceFileLoader):
    """Compiles a file after replacing each old text, which must stand in it exactly once, by a new one."""

    edits = ()

    def get_code(self, fullname):
        text = Path(self.path).read_text(encoding="utf-8")
        for old, new in self.edits:
            if text.count(old) != 1:
                raise LookupError(f"{self.path} holds {old!r} {text.count(old)} times, not once")
            text = text.replace(old, new)
        return _code(text, self.path)


@functools.cache
def _code(text, path):
    return compile(text, path, "exec", dont_inherit=True)


class _Finder:
    """Finds emdref's modules in its folder, and applies edits, {path below emdref: [(old, new)]}."""

    def __init__(self, edits):
        self.edits = {str(PACKAGE / path): tuple(changes) for path, changes in edits.items()}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "emdref":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path or [str(PACKAGE.parent)])
        if spec is not None:
            loader = _Source(name, spec.origin)
            loader.edits = self.edits.get(spec.origin, ())
            spec.loader = loader
        return spec


def _ours():
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "emdref"}


@functools.cache
def original():
    """The package as it stands; one copy for all tests of a process."""
    return load()


def load(edits=None):
    """A copy of the package of its own, which no other import sees."""
    others, finder = _ours(), _Finder(edits or {})
    jit = types.ModuleType(_JIT)
    jit.row = jit.inline = jit.loop = lambda function: function
    jit.is_disabled = lambda: True
    jit.straight = lambda *_: None
    for path in finder.edits:
        if not Path(path).is_file():
            raise LookupError(f"no module {path} to edit")
    try:
        for name in others:
            del sys.modules[name]
        sys.modules[_JIT] = jit
        sys.meta_path.insert(0, finder)
        return importlib.import_module("emdref")
    finally:
        sys.meta_path.remove(finder)
        for name in _ours():
            del sys.modules[name]
        sys.modules.update(others)


# --- spaces and pairs -------------------------------------------------------------------------------------------------

SHAPES = {  # parents, costs, bins: a branched tree, an only child at the root, bins on inner nodes, a star
    "tree": ([-1, 0, 0, 1, 1, 2, 5, 5, 5], [0, 0.5, 2, 1, 0, 3, 1.25, 0.1, 4], [3, 4, 6, 7, 8]),
    "stem": ([-1, 0, 1, 1, 1, 3, 3], [0, 5, 1, 0.7, 2, 0.25, 1.5], [2, 4, 5, 6]),
    "inner": ([3, 3, 1, -1, 1], [2, 0.75, 1, 0, 1.5], [1, 4, 3, 2]),
    "star": ([-1, 0, 0, 0], [0, 1, 3, 0.3], [1, 2, 3]),
}
GAPS = [1, 0.5, 0, 3]
RHOS = [1, 2, 3, 4, 1.5, 2.5, 7.25]
GAUGES = ["raw", "zero_sum", "scaled", "normalized"]


def spaces(library):
    """(space, edges as the oracle sees them) of each shape, and of a chain with a free gap."""
    yield library.Chain(gaps=GAPS), oracles.chain_edges(GAPS)
    for parent, cost, bins in SHAPES.values():
        yield library.Tree(parent, cost, bins), oracles.tree_edges(parent, cost, bins)


def pairs(n, dtype=np.float64):
    """Rows p and q: full significands, small integers, exact kinks, steps of 2**-20, full significands again.

    Totals differ but where there are kinks: there they are the same power of two, so that normalising is exact.
    """
    rng = np.random.default_rng(n)
    x, y = rng.lognormal(0, 1.5, (2, 5, n))
    x[1], y[1] = rng.integers(1, 9, n), rng.integers(0, 9, n)
    x[1, -1], y[1, -1] = 128 - x[1, :-1].sum(), 128 - y[1, :-1].sum()
    x[2] = y[2] = [3, 1, 4, 8, 16][:n]
    y[2, :2] = 1, 3
    x[3], y[3] = np.ldexp(x[3], -20 * np.arange(n)), np.ldexp(y[3], -20 * np.arange(n)[::-1])
    return x.astype(dtype), y.astype(dtype)


def exactly(x):
    return [Fraction(float(v)) for v in x]


def total(*x):
    return sum(exactly(x))


def truth(p, q, edges, rho, gauge, normalize):
    """(value, gradient) of a row as Fractions, to 75 digits for a real rho."""
    value, raw = _raw(_Row(exactly(p), exactly(q), edges, rho, normalize))
    return value, oracles.gauged(raw, exactly(p), gauge)


class _Row(NamedTuple):
    p: list
    q: list
    edges: dict
    rho: float
    normalize: bool

    def __hash__(self):
        return hash((*self.p, *self.q, self.rho, self.normalize))


@functools.lru_cache(100)  # other gauges of the same row are asked for next
def _raw(row):
    a, b, edges, rho, normalize = row
    if normalize:
        a, b = oracles.normalized(a), oracles.normalized(b)
    whole = rho == int(rho)
    emd, raw = (oracles.emd, oracles.raw_grad) if whole else (oracles.emd_real, oracles.raw_grad_real)
    return emd(a, b, edges, rho), raw(a, b, edges, rho)


def close(got, exact, bound):
    """Every number within the bound, which a NaN is not."""
    return all(
        abs(Fraction(float(x)) - y) <= bound if np.isfinite(x) else False for x, y in zip(got, exact, strict=True)
    )


def ulp(x, dtype=np.float64):
    return Fraction(float(np.spacing(abs(dtype(float(x))))))
