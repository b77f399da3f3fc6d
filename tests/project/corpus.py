"""A fixed corpus of pairs made of hashes and integers alone, and the SHA-256 of what emdref makes of it.

No random generator, no libm: every input is the same float on every machine, and so is every result of + - * / (integer
rho).  ``python tests/project/corpus.py`` compares with the committed table, with ``--write`` it replaces it; a
change of a line means that a bit of some result changed, which needs a reason in the commit that does it.
"""

import csv
import functools
import hashlib
import itertools
import sys
from pathlib import Path

import numpy as np

import emdref
from emdref import losses, normalize

TABLE = Path(__file__).parent / "corpus.csv"
ROWS = 6


def integers(name, count, bits):
    """`count` integers below 2**bits, told by the name."""
    size = (bits + 7) // 8
    data = hashlib.shake_256(name.encode()).digest(count * size)
    return [int.from_bytes(data[i * size : (i + 1) * size], "big") >> (8 * size - bits) for i in range(count)]


def shuffled(name, items):
    """Fisher-Yates; the bias of taking a remainder is 2**-50."""
    items = list(items)
    for i, x in zip(range(len(items) - 1, 0, -1), integers(name, len(items) - 1, 64), strict=True):
        j = x % (i + 1)
        items[i], items[j] = items[j], items[i]
    return items


# --- spaces -----------------------------------------------------------------------------------------------------------


def costs(name, size):
    """Multiples of 2**-20 below 16, a few of them 0."""
    return [(x % 2**24) / 2**20 * (x % 29 > 0) for x in integers(name, size, 40)]


def tree(name, parent, bins=None):
    return emdref.Tree(parent, costs(name, len(parent)), bins)


def spaces():
    random = [-1, *(x % v for v, x in zip(range(1, 200), integers("shape", 199, 64), strict=True))]
    return {
        "chain": emdref.Chain(gaps=costs("chain", 127)),
        "path": tree("path", np.arange(150) - 1, bins=shuffled("bins", range(150))[:75]),
        "star": tree("star", [-1] + 100 * [0]),
        "caterpillar": tree("caterpillar", [-1] + [v - 1 if v % 2 else v - 2 for v in range(1, 160)]),
        "random": tree("random", random),
        "wordnet": emdref.wordnet_tree(),
        "circle": emdref.Circle(gaps=costs("circle", 100)),
    }


# --- histograms -------------------------------------------------------------------------------------------------------


def spread(name, n, dtype, octaves):
    """Full significands times powers of two from 1 down to 2**-octaves."""
    bits = np.finfo(dtype).nmant + 1
    x = [(a | 1 << (bits - 1)) for a in integers(name, n, bits)]
    down = [k % (octaves + 1) for k in integers(name + " octaves", n, 32)]
    return np.ldexp(np.array(x, np.float64), -bits - np.array(down)).astype(dtype)


def permuted(octaves):
    def family(name, n, dtype):
        p = spread(name, n, dtype, octaves)
        return p, p[shuffled(name + " order", range(n))]

    return family


def block_permuted(name, n, dtype):
    p = spread(name, n, dtype, 30)
    return p, p[np.concatenate([range(a, min(a + 3, n))[::-1] for a in range(0, n, 3)])]


def one_ulp(name, n, dtype):
    p = spread(name, n, dtype, 3)
    turns = shuffled(name, range(n))
    q = p.copy()
    q[turns[::2]] = np.nextafter(p[turns[::2]], dtype(1))
    q[turns[1::2]] = np.nextafter(p[turns[1::2]], dtype(0))
    return p, q


def hard(name, n, dtype):
    """(1, 2**-60, 2**-120, -1, -2**-60, -2**-120) in some order, on a background that p and q share."""
    d = np.zeros(n, dtype)
    d[shuffled(name, range(n))[:6]] = [1, 2.0**-60, 2.0**-120, -1, -(2.0**-60), -(2.0**-120)]
    return np.maximum(d, 0), np.maximum(-d, 0)


def subnormal(name, n, dtype):
    p = np.array(integers(name, n, 4), dtype) * np.finfo(dtype).smallest_subnormal
    return p, p[shuffled(name + " order", range(n))]


FAMILIES = {
    "flat": permuted(0),
    "peaked": permuted(40),
    "far": permuted(100),
    "block_permuted": block_permuted,
    "one_ulp": one_ulp,
    "hard": hard,
    "subnormal": subnormal,
}


@functools.cache
def pairs(space_name, family, n, dtype):
    """(ROWS, n) arrays p and q."""
    rows = [FAMILIES[family](f"{space_name} {family} {i}", n, dtype) for i in range(ROWS)]
    return tuple(np.stack(x) for x in zip(*rows, strict=True))


# --- results ----------------------------------------------------------------------------------------------------------


def powers(space):
    """Where edges close a circle, other flows come by the C library's pow."""
    return (1, 2) if space.has_cycles else (1, 2, 3, 4)


def emd(p, q, space, **options):
    return [emdref.emd(p, q, space, rho, **options) for rho in powers(space)]


def emd_grad(p, q, space, **options):
    grid = itertools.product(powers(space), ("raw", "zero_sum", "scaled"))
    return [emdref.emd_grad(p, q, space, rho, gauge=gauge, **options) for rho, gauge in grid]


def normalized(p, q, space, **options):
    """Gauge and mass policy; these divide by totals, which may not be subnormal."""
    if p.max() < 1e-30:
        return []
    options["mass"] = "normalize"
    return [f(p, q, space, gauge="normalized", **options) for f in (emdref.emd_value_and_grad, emdref.emd_grad)]


def emd_hess(p, q, space, **options):
    if space.n_bins > 200 or space.rooted is None:
        return []
    grid = itertools.product((2, 3), ("raw", "zero_sum", "scaled"))
    return [emdref.emd_hess(p, q, space, rho, gauge=gauge, **options) for rho, gauge in grid]


def emd_hvp(p, q, space, **options):
    if space.rooted is None:
        return []
    grid = itertools.product((2, 3, 4), ("raw", "zero_sum", "scaled"))
    return [emdref.emd_hvp(p, q, space, p - q[::-1], rho, gauge=gauge, **options) for rho, gauge in grid]


def flow(p, q, space, **options):
    return [emdref.flow(p, q, space, rho, **options) for rho in ((1, 2) if space.has_cycles else (1,))]


def emd_cost_grad(p, q, space, **options):
    return [emdref.emd_cost_grad(p, q, space, rho, **options) for rho in ((1, 2) if space.has_cycles else (1, 2, 3, 4))]


def layers(p, q, space, accuracy):
    if accuracy == "native" or p.max() < 1e-30:
        return []
    products = [normalize.l1.vjp(p, q), normalize.square.vjp(p, q)]
    return [normalize.l1(p), normalize.square(p), *products, *losses.mse(p, q)]


FUNCTIONS = [flow, emd_cost_grad, emd, emd_grad, normalized, emd_hess, emd_hvp, layers]
KEY = ["function", "accuracy", "dtype", "space"]


def digest(arrays):
    """Of the numbers' bytes, little-endian."""
    sha = hashlib.sha256()
    for x in arrays:
        for part in x if isinstance(x, tuple) else (x,):
            sha.update(np.ascontiguousarray(part).astype(part.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def lines(only=()):
    """(function, accuracy, dtype, space, SHA-256) of all families' results in a row, and of the inputs."""
    for (name, space), dtype in itertools.product(spaces().items(), (np.float32, np.float64)):
        if only and name not in only:
            continue
        inputs = [pairs(name, family, space.n_bins, dtype) for family in FAMILIES]
        yield "inputs", "", dtype.__name__, name, digest(inputs)
        for function, accuracy in itertools.product(FUNCTIONS, ("compensated", "native")):
            results = [x for p, q in inputs for x in function(p, q, space, accuracy=accuracy)]
            if results:
                yield function.__name__, accuracy, dtype.__name__, name, digest(results)


def committed():
    with TABLE.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


if __name__ == "__main__":
    found = list(lines())
    if sys.argv[1:] == ["--write"]:
        with TABLE.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([[*KEY, "sha256"], *found])
    else:
        changed = sorted(set(found) ^ set(committed()))
        print(*(changed or ["no bit has changed"]), sep="\n")
        sys.exit(bool(changed))
