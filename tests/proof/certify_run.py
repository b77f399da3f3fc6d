"""A long run of `emdref.certify` against tests/support/oracles.py: violations, and widths of the intervals in ulp.

``python tests/proof/certify_run.py --cases 1000000 --write`` draws so many small cases, half in each dtype, from every
family on every kind of space, and replaces certify_run.csv; without --write it prints the table.  Each case compares
value, bounds, flow, signs, kinks, subdifferential, potential and excess with rationals that share no code with emdref,
and has the certificate verify itself.  The work is dealt to --jobs processes; cells are seeded by themselves, so that
the table does not depend on how many.
"""

import argparse
import itertools
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import cases
import emdref
import oracles

TABLE = Path(__file__).parent / "certify_run.csv"
SHAPES = ["chain", "path", "star", "caterpillar", "random", "inner_bins"]
MAX_BINS = 12


def random_space(shape, rng):
    """A space of 1 to MAX_BINS bins with uneven costs, some of them 0, node numbers shuffled."""
    n = int(rng.integers(1, MAX_BINS + 1))
    size = {"caterpillar": 2 * n, "random": 2 * n, "inner_bins": n + 4}.get(shape, n + 1)
    cost = cases.costs(rng, size) * (rng.random(size) > 0.1)
    if shape == "chain":
        return emdref.Chain(gaps=cost[: n - 1])
    parents = {
        "path": np.arange(size) - 1,
        "star": np.append(-1, np.zeros(size - 1, int)),
        "caterpillar": np.append(-1, [v - 1 if v % 2 else v - 2 for v in range(1, size)]),
    }
    parent = parents.get(shape, np.append(-1, (rng.random(size - 1) * np.arange(1, size)).astype(int)))
    anywhere = shape in ("path", "inner_bins")
    tree = emdref.Tree(parent, cost, bins=rng.permutation(size)[:n] if anywhere else None)
    return cases.relabelled(tree, rng.permutation(size))


def compare(found, p, q, space):
    """Raise AssertionError if a field is not what the rationals say: floats the nearest, or the next outward."""
    p, q = oracles.fractions(p), oracles.fractions(q)
    edges = cases.edges.__wrapped__(space)
    phi = oracles.flow(p, q, edges)
    order = range(space.n_nodes - isinstance(space, emdref.Chain))
    value = oracles.emd(p, q, edges, 1)
    encloses(found.lower, value, found.upper)
    is_nearest(found.value, value)
    assert found.sign.tolist() == [oracles.sign(phi.get(e, 0)) for e in order]
    assert found.at_kink.tolist() == [e in phi and phi[e] == 0 for e in order]
    for x, e in zip(found.flow.tolist(), order, strict=True):
        is_nearest(x, phi.get(e, Fraction(0)))
    for k in range(space.n_bins):
        above = [(cost, phi[e]) for e, (cost, under) in edges.items() if k in under]
        low, high = (sum((c * (oracles.sign(f) or end) for c, f in above), Fraction(0)) for end in (-1, 1))
        encloses(found.grad_lower[k], low, np.inf)
        encloses(-np.inf, high, found.grad_upper[k])
        bin_node = k if isinstance(space, emdref.Chain) else space.bins[k]
        is_nearest(float(found.potential[bin_node]), sum((c * oracles.sign(f) for c, f in above), Fraction(0)))
    assert found.excess == sum(p) - sum(q)


def encloses(lower, x, upper):
    """lower <= x <= upper, and no float lies between a finite bound and x."""
    assert lower <= x <= upper
    assert lower == -np.inf or math.nextafter(lower, np.inf) > x
    assert upper == np.inf or math.nextafter(upper, -np.inf) < x


def is_nearest(got, x):
    if np.isinf(got):
        assert abs(x) > Fraction(np.finfo(float).max)
        return
    assert all(abs(Fraction(got) - x) <= abs(Fraction(other) - x) for other in neighbours(got))


def neighbours(x):
    return [y for y in (math.nextafter(x, np.inf), math.nextafter(x, -np.inf)) if np.isfinite(y)]


def width(found):
    """Of the value's interval in ulp, NaN beyond the range."""
    if found.upper == np.inf:
        return np.nan
    return 0.0 if found.lower == found.upper else (found.upper - found.lower) / math.ulp(found.lower)


def cell(family, shape, dtype, seed, count):
    """One line of the table: `count` cases of a kind."""
    rng = np.random.default_rng([seed, *f"{family} {shape} {dtype.__name__}".encode()])
    widths, violations, done = [], 0, 0
    while done < count:
        space = random_space(shape, rng)
        p, q = cases.HOSTILE[family](rng, space.n_bins, dtype)
        if not (p.any() and q.any()):
            continue
        done += 1
        found = emdref.certify(p, q, space, mass="ignore")
        try:
            compare(found, p, q, space)
            assert found.verify()
        except AssertionError:
            violations += 1
        widths.append(width(found))
    return {
        "family": family,
        "shape": shape,
        "dtype": dtype.__name__,
        "seed": seed,
        "cases": done,
        "violations": violations,
        "beyond_range": int(np.isnan(widths).sum()),
        "width_median": np.nanmedian(widths),
        "width_max": np.nanmax(widths),
    }


def run(cases_per_cell, seed, jobs=1):
    grid = list(itertools.product(cases.HOSTILE, SHAPES, cases.DTYPES))
    work = [(*kind, seed, cases_per_cell) for kind in grid]
    if jobs == 1:
        return pd.DataFrame([cell(*arguments) for arguments in work])
    with ProcessPoolExecutor(jobs) as pool:
        return pd.DataFrame(tqdm(pool.map(cell, *zip(*work, strict=True)), total=len(work)))


def committed():
    return pd.read_csv(TABLE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    cells = len(cases.HOSTILE) * len(SHAPES) * len(cases.DTYPES)
    table = run(-(-options.cases // cells), options.seed, options.jobs)
    if options.write:
        table.to_csv(TABLE, index=False, float_format="%.6g", lineterminator="\n")
    print(table.to_string())
    print(f"{table.cases.sum()} cases, {table.violations.sum()} violations")


if __name__ == "__main__":
    main()
