"""A long run against exact rationals: worst error per function, dtype and family, wrong signs, fallbacks.

``python tests/functions/campaign.py --rounds 20 --out report.csv`` draws that many pairs on each kind of space for each
family and dtype.  Errors are in ulp of the exact result for values, flows, raw Hessians, layers and MSE, and as parts
of their documented bound for gradients (8 eps max|r|), Hessians and their products (8 eps max|H|): 1 is the bound.
"""

import argparse
import itertools
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import cases
import emdref
import oracles
from emdref import exact, losses, normalize

SHAPES = ["chain", "path", "star", "caterpillar", "random", "wordnet"]
RHOS = [1, 2, 3, 4]


def space_of(shape, rng):
    if shape == "wordnet":
        return emdref.wordnet_tree()
    return cases.large(shape, int(np.exp(rng.uniform(np.log(2), np.log(400)))), 2.0 ** int(rng.integers(-3, 4)))


def in_ulps(got, exactly):
    """The largest error in ulp of the exact number, in the dtype of what was got; infinity only where it belongs."""
    got, worst = np.atleast_1d(got), Fraction(0)
    top = Fraction(float(np.finfo(got.dtype).max))
    for x, y in zip(got.ravel().tolist(), exactly, strict=True):
        if abs(y) > top:
            assert not np.isfinite(x) or abs(x) == top
            continue
        worst = max(worst, abs(Fraction(x) - y) / cases.ulp(y, got.dtype.type))
    return float(worst)


def in_bounds(got, exactly, bound):
    """The largest error as a part of its bound, a smallest subnormal allowed for the last rounding."""
    floor = cases.ulp(0, got.dtype.type)
    errors = [abs(Fraction(x) - y) for x, y in zip(got.ravel().tolist(), exactly, strict=True)]
    return float(max(errors) / (bound + floor))


def measurements(p, q, space, rho, gauge, mass, rng):
    """(function, worst error, wrong signs) of one pair."""
    eps, rational = cases.eps(p.dtype), {"mass": "normalize" if mass == "normalize" else "ignore"}
    if gauge == "raw":
        flow, true_flow = emdref.flow(p, q, space, mass=mass), exact.flow(p, q, space, **rational)
        wrong = sum(oracles.sign(a) != oracles.sign(b) for a, b in zip(flow.tolist(), true_flow, strict=True))
        yield "flow", in_ulps(flow, true_flow), wrong
        value = emdref.emd(p, q, space, rho, mass=mass)
        yield f"emd rho={rho}", in_ulps(value, [exact.emd(p, q, space, rho, **rational)]), 0
    options = {"gauge": gauge, "mass": mass}
    rational_raw = {"mass": "normalize" if rational["mass"] == "normalize" or gauge == "normalized" else "ignore"}
    total = sum(oracles.fractions(p))
    scale = {"scaled": Fraction(len(p)), "normalized": 1 / total}.get(gauge, Fraction(1))
    raw = exact.grad(p, q, space, rho, gauge="raw", **rational_raw)
    unit = 8 * eps * max(map(abs, raw)) * scale
    grad = emdref.emd_grad(p, q, space, rho, **options)
    true_grad = exact.grad(p, q, space, rho, gauge=gauge, **rational)
    wrong = sum(oracles.sign(a) != oracles.sign(b) for a, b in zip(grad.tolist(), true_grad, strict=True))
    yield f"emd_grad {gauge}", in_bounds(grad, true_grad, unit), wrong if gauge == "raw" and rho == 1 else 0
    if rho == 1 and gauge != "normalized":
        return
    v = (rng.standard_normal(len(p)) * 4.0 ** rng.integers(-3, 4, len(p))).astype(p.dtype)
    h = top_curvature(p, q, space, rho, rational_raw)
    if gauge == "normalized":
        mean = sum(a * b for a, b in zip(oracles.fractions(p), raw, strict=True)) / total
        h += 2 * max(abs(r - mean) for r in raw)
    bound = 8 * eps * h * scale**2
    product = emdref.emd_hvp(p, q, space, v, rho, **options)
    expected = exact.hvp(p, q, space, v, rho, gauge=gauge, **rational)
    yield f"emd_hvp {gauge}", in_bounds(product, expected, bound * sum(map(abs, oracles.fractions(v)))), 0
    if len(p) <= 60:
        hess = emdref.emd_hess(p, q, space, rho, **options)
        expected = [x for line in exact.hess(p, q, space, rho, gauge=gauge, **rational) for x in line]
        assert (hess == hess.T).all()
        yield f"emd_hess {gauge}", in_ulps(hess, expected) if gauge == "raw" else in_bounds(hess, expected, bound), 0


def top_curvature(p, q, space, rho, rational):
    """max |H|: an entry of the diagonal, whichever the sum of the rows points at."""
    rows = exact.hvp(p, q, space, [1] * len(p), rho, gauge="raw", **rational)
    k = max(range(len(p)), key=rows.__getitem__)
    return exact.hvp(p, q, space, [int(j == k) for j in range(len(p))], rho, gauge="raw", **rational)[k]


def layer_measurements(p, q):
    for layer, y in ((normalize.l1, oracles.fractions(p)), (normalize.square, [x * x for x in oracles.fractions(p)])):
        yield f"normalize.{layer.__name__}", in_ulps(layer(p), [x / sum(y) for x in y]), 0
    d = [a - b for a, b in zip(oracles.fractions(p), oracles.fractions(q), strict=True)]
    value, grad = losses.mse(p, q)
    yield "losses.mse", in_ulps(value, [sum(x * x for x in d) / len(d)]), 0
    yield "losses.mse gradient", in_ulps(grad, [2 * x / len(d) for x in d]), 0


def run(rounds, seed):
    grid = list(itertools.product(cases.FAMILIES, cases.DTYPES, SHAPES, range(rounds)))
    for family, dtype, shape, i in tqdm(grid, mininterval=5):
        rng = np.random.default_rng([seed, i, *f"{family} {dtype.__name__} {shape}".encode()])
        space = space_of(shape, rng)
        p, q = cases.FAMILIES[family](rng, space.n_bins, dtype)
        if not (p.any() and q.any()):
            continue
        rho, gauge = int(rng.choice(RHOS)), str(rng.choice(cases.GAUGES))
        mass = str(rng.choice(["ignore", "normalize"]))
        if family == "subnormals":
            gauge, mass = str(rng.choice(["raw", "zero_sum", "scaled"])), "ignore"  # 1 / |p| leaves the range
        with emdref.fallback.counting() as count:
            measured = [*measurements(p, q, space, rho, gauge, mass, rng), *layer_measurements(p, q)]
        first = len(measured)
        for function, worst, wrong in measured:
            yield {
                "function": function,
                "dtype": dtype.__name__,
                "family": family,
                "worst": worst,
                "wrong_signs": wrong,
                "cases": 1,
                "rows": count.rows / first,
                "fallbacks": count.exact / first,
            }


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="CSV to write")
    options = parser.parse_args(arguments)
    table = pd.DataFrame(run(options.rounds, options.seed))
    how = {"worst": "max", "wrong_signs": "sum", "cases": "sum", "rows": "sum", "fallbacks": "sum"}
    report = table.groupby(["function", "dtype", "family"]).agg(how)
    if options.out:
        report.to_csv(options.out)
    print(report["worst"].unstack().round(3).to_string())
    print("wrong signs:", int(report.wrong_signs.sum()), "of", int(report.cases.sum()), "measurements")
    rates = table.groupby(["family", "dtype"])[["rows", "fallbacks"]].sum()
    print((rates.fallbacks / rates.rows).unstack().round(4).rename_axis("fallback rate").to_string())


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(sys.argv[1:])
