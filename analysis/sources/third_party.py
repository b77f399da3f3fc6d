"""What `emdref.check` and `check_sinkhorn` find in published implementations: writes docs/understand/third_party.md.

``python -m analysis.sources.third_party [--out FILE]`` needs the extra ``[peers]``; a missing peer is a row saying so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import emdref
from analysis.peers import wrappers

CHAIN = emdref.Chain(50)
NEWICK = "((a:1,b:2):0.5,(c:1,(d:0.25,e:0.5):0.75):1);"
HEAD = """# Other people's code, checked

Many programs compute an Earth Mover's Distance or a Sinkhorn distance, and they do not all compute the same number.
This page says what each of them computes, as [`emdref.check` and `check_sinkhorn`](../howto/check.md) find it. These
are measurements, not verdicts: most of these functions are not meant to be EMD^rho in one of emdref's gauges.

`python -m analysis.sources.third_party` writes the page.

## Earth Mover's Distance

Each function was checked as it is published, in float64 and on all grades of cases: on a chain of 50 bins, UniFrac on a
tree of 5 tips, with the exponent that its documentation names. "Passed up to" is the hardest grade on which all signs
are right and errors stay below 4 + 4 sqrt(V) ulp, with V the number of bins or nodes. What stands out:

- SciPy, POT and UniFrac add up p and q apart. If both share much mass, the small part that moves is lost in rounding.
- `ot.wasserstein_1d(p=2)` raises distances to the power, not flows: W_2^2 is [another number](emd.md) than EMD^2.
- POT's autograd goes through sorted quantiles. Where partial sums of p and q coincide, its numbers are no subgradient:
  most of its wrong signs are where the flow is not 0.
- The gradient of the NIMA-style loss is NaN at p = q: it is the derivative of a square root at 0.
- `skbio`'s weighted UniFrac cuts masses to whole numbers. It makes 0 of relative abundances below 1, without a word.

"""
SINKHORN = """
## Sinkhorn distance

The same script checked these in float64 on a chain of {n} bins with unit gaps at lam = {lam:g}, with the
iterations that the table names. "Off" is the largest relative error of a value against float64 logarithms: first on
easy and ordinary pairs, then on hard and hostile ones, which have empty bins or all mass at one end. What stands out:

- All of them take the regularisation, 1 / lam.
- POT ends with u and does not refresh v, so that the rows of its plan are right at once and its columns at convergence
  only. It looks whether to stop in every tenth iteration, counted from 0.
- POT's `method="sinkhorn"` divides by the masses of p. Where p and q both have empty bins it meets 0 times infinity,
  warns, and returns a plan of its start.
- OTT stops on a marginal error of 1e-3 by default, and looks for it every ten iterations. Its value is the dual one,
  with the entropy relative to p q^T. `scale_cost="mean"` changes lam, and the value's unit with it.
- GeomLoss lowers epsilon step by step and averages u and v, so that no plain iteration gives its numbers. With
  `scaling` near 1 it comes near the converged debiased divergence.

"""
SINKHORN_COLUMNS = (
    "implementation",
    "version",
    "iterations given",
    "value is",
    "gradient is",
    "iterations done",
    "v refreshed",
    "lam",
    "off, easy and ordinary",
    "off, hard and hostile",
    "failures",
)
COLUMNS = (
    "implementation",
    "version",
    "rho",
    "value is",
    "gradient is",
    "p - q first",
    "totals of 3",
    "p = q",
    "float32",
    "wrong signs",
    "passed up to",
)


def candidates() -> Iterator[tuple[str, str, float, Any, Callable]]:
    """(name, package, rho, space, factory of the function)."""
    bins = np.arange(CHAIN.n_bins)
    yield "`scipy.stats.wasserstein_distance`", "scipy", 1, CHAIN, lambda: wrappers.scipy_distance(bins)
    yield "`ot.emd2_1d(metric='euclidean')`", "POT", 1, CHAIN, lambda: _pot("emd2_1d", metric="euclidean")
    yield "`ot.wasserstein_1d(p=1)`", "POT", 1, CHAIN, lambda: _pot("wasserstein_1d", p=1)
    yield "`ot.wasserstein_1d(p=2)`", "POT", 2, CHAIN, lambda: _pot("wasserstein_1d", p=2)
    yield "`ot.wasserstein_1d(p=1)`, torch autograd", "torch", 1, CHAIN, lambda: _pot_torch("wasserstein_1d", p=1)
    yield "`ot.emd2_1d`, torch autograd", "torch", 1, CHAIN, lambda: _pot_torch("emd2_1d", metric="euclidean")
    yield "NIMA-style loss, r = 2, torch autograd", "torch", 2, CHAIN, wrappers.nima
    tree = emdref.Tree.from_newick(NEWICK)
    yield (
        "`skbio` weighted UniFrac, p and q as they are",
        "scikit-bio",
        1,
        tree,
        lambda: wrappers.unifrac(NEWICK, "abcde"),
    )
    yield "`skbio` weighted UniFrac, of counts p 2^40", "scikit-bio", 1, tree, lambda: _of_counts(2**40)


def _pot(name: str, **options: Any) -> Callable:
    return wrappers.pot(name, np.arange(CHAIN.n_bins, dtype=float), **options)


def _pot_torch(name: str, **options: Any) -> Callable:
    return wrappers.pot_torch(name, CHAIN.n_bins, **options)


def _of_counts(scale: int) -> Callable:
    distance = wrappers.unifrac(NEWICK, "abcde")
    return lambda p, q: distance(*(np.round(x * scale).astype(np.int64) for x in (p, q)))


def row(name: str, package: str, rho: float, space: Any, make: Callable) -> str:
    """One line of the table."""
    try:
        function, found = make(), version(package)
    except (ImportError, PackageNotFoundError):
        return f"| {name} | not installed | | | | | | | | |"
    report = emdref.check(function, space, rho=rho, framework="torch" if package == "torch" else None)
    passed = "none"
    for grade, line in report.grades.items():
        if not line["passed"]:
            break
        passed = grade
    told = {True: "yes", False: "no", None: "cannot be told"}[report.subtracts_first]
    texts = {key: finding.text.replace("|", "\\|") for key, finding in report.findings.items()}
    signs = f"{report.wrong_signs}, {report.lost_zeros} of them should be 0" if report.gradient_fit else "-"
    cells = [texts.get("value", "-"), texts.get("gradient", "-"), told, texts["totals of 3"], texts["p = q"]]
    return f"| {name} | {found} | {rho:g} | {' | '.join([*cells, texts.get('float32', '-'), signs, passed])} |"


LAM, LINE = 2.0, emdref.Chain(12)


def sinkhorn_candidates() -> Iterator[tuple[str, str, int, Callable]]:
    """(name, package, iterations, factory of the function)."""
    cost, at = LINE.distance_matrix(), np.arange(LINE.n_bins, dtype=float)
    exact = {"numItermax": 10, "stopThr": 0}
    yield "`ot.sinkhorn(stopThr=0)`", "POT", 10, lambda: wrappers.pot_sinkhorn(cost, LAM, **exact)
    yield "`ot.sinkhorn`", "POT", 1000, lambda: wrappers.pot_sinkhorn(cost, LAM)
    log = "sinkhorn_log"
    yield "`ot.sinkhorn(method='sinkhorn_log')`", "POT", 1000, lambda: wrappers.pot_sinkhorn(cost, LAM, log)
    yield "OTT, `threshold=-1`", "ott-jax", 10, lambda: wrappers.ott_sinkhorn(cost, LAM, 10, threshold=-1.0)
    yield "OTT", "ott-jax", 2000, lambda: wrappers.ott_sinkhorn(cost, LAM, 2000)
    yield "OTT, `scale_cost='mean'`", "ott-jax", 2000, lambda: wrappers.ott_sinkhorn(cost, LAM, 2000, scale_cost="mean")
    yield "GeomLoss, p = 1", "geomloss", 100, lambda: wrappers.geomloss_sinkhorn(at, LAM)
    yield "GeomLoss, p = 1, `scaling=.99`", "geomloss", 100, lambda: wrappers.geomloss_sinkhorn(at, LAM, scaling=0.99)


def sinkhorn_row(name: str, package: str, max_iter: int, make: Callable) -> str:
    """One line of the second table."""
    try:
        function, found = make(), version(package)
    except (ImportError, PackageNotFoundError):
        return f"| {name} | not installed | | | | | | | | | |"
    framework = {"ott-jax": "jax", "geomloss": "torch"}.get(package)
    report = emdref.check_sinkhorn(function, LINE, LAM, max_iter, framework=framework)
    texts = {key: finding.text.replace("|", "\\|") for key, finding in report.findings.items()}
    if report.value is None:
        texts["value"] += "; nearest: " + report.closest.replace("|", "\\|")
    refreshed = {True: "yes", False: "no", None: "not told"}[report.refreshes_v]
    cells = [texts.get("value", "-"), texts.get("gradient", "-"), texts.get("iterations", "-"), refreshed]
    cells += [texts.get("lam", "-"), *(_off(report, grades) for grades in (("easy", "ordinary"), ("hard", "hostile")))]
    return f"| {name} | {found} | {max_iter} | {' | '.join(cells)} | {report.failures} |"


def _off(report: emdref.SinkhornReport, grades: tuple[str, ...]) -> str:
    errors = [x for grade in grades if (x := report.grades[grade]["value"]) is not None]
    return f"{max(errors):.1g}" if errors else "-"


def table(columns: tuple[str, ...], rows: Iterator[str]) -> str:
    """Markdown."""
    head = [" | ".join(("", *columns, "")).strip(), "|---" * len(columns) + "|"]
    return "\n".join([*head, *rows]) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs/understand/third_party.md")
    out = parser.parse_args(argv).out
    page = HEAD + table(COLUMNS, (row(*candidate) for candidate in candidates()))
    page += SINKHORN.format(n=LINE.n_bins, lam=LAM)
    page += table(SINKHORN_COLUMNS, (sinkhorn_row(*candidate) for candidate in sinkhorn_candidates()))
    out.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
