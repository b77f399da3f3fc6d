"""The graded pairs that `emdref.check_sinkhorn` asks about: total 1, bins without mass, masses far apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emdref import casebook
from emdref.arguments import containers, messages, validation
from emdref.casebook import Grade, Pair, Rng
from emdref.entropic import inputs
from emdref.proof.sinkhorn_report import SinkhornCase
from emdref.spaces.space import Metric

GRADES = get_args(Grade)


def _of_total_1(p: NDArray[Any], q: NDArray[Any]) -> Pair:
    dtype = p.dtype.type
    return casebook.normalized(p, dtype), casebook.normalized(q, dtype)


def mild(rng: Rng, n: int, dtype: Any, sigma: float = 1.0) -> Pair:
    """Two softmaxes of logits with spread 1."""
    return casebook.normalized(casebook.lognormal(rng, n, sigma), dtype), casebook.normalized(
        casebook.lognormal(rng, n, sigma), dtype
    )


def counts(rng: Rng, n: int, dtype: Any) -> Pair:
    """Whole numbers from 1 to 5 over their sum."""
    return _of_total_1(rng.integers(1, 5, n).astype(dtype), rng.integers(1, 5, n).astype(dtype))


def one_hot(rng: Rng, n: int, dtype: Any) -> Pair:
    """A softmax against one bin."""
    return casebook.softmax(rng, n, dtype)[0], _spike(int(rng.integers(n)), n, dtype)


def zeros_in_q(rng: Rng, n: int, dtype: Any) -> Pair:
    """Every other bin of q is empty."""
    p, q = casebook.softmax(rng, n, dtype)
    q[1::2] = 0
    return _of_total_1(p, q)


def zeros_in_p(rng: Rng, n: int, dtype: Any) -> Pair:
    """Every other bin of p is empty."""
    q, p = zeros_in_q(rng, n, dtype)
    return p, q


def apart(rng: Rng, n: int, dtype: Any) -> Pair:
    """p on the first half of the bins, q on the others."""
    p, q = mild(rng, n, dtype)
    if n > 1:
        p[n // 2 :], q[: n // 2] = 0, 0
    return _of_total_1(p, q)


def spread(rng: Rng, n: int, dtype: Any) -> Pair:
    """Powers of 2**-20 from 1 to 2**-120, over their sum."""
    return _of_total_1(*casebook.spread(rng, n, dtype))


def opposite_ends(rng: Rng, n: int, dtype: Any) -> Pair:
    """All of p in the first bin, all of q in the last."""
    return _spike(0, n, dtype), _spike(n - 1, n, dtype)


def tiny_masses(rng: Rng, n: int, dtype: Any) -> Pair:
    """A third of the bins holds some 2**40 times the smallest normal number, which a few divisions do not lose."""
    p, q = mild(rng, n, dtype)
    for x in (p, q):
        x[1 + int(rng.integers(2)) :: 3] = np.ldexp(np.finfo(dtype).tiny, 40) * dtype(rng.integers(1, 8))
    return _of_total_1(p, q)


def _spike(k: int, n: int, dtype: Any) -> NDArray[Any]:
    x = np.zeros(n, dtype)
    x[k] = 1
    return x


FAMILIES: dict[str, casebook.Family] = {
    draw.__name__: casebook.Family(grade, draw)  # type: ignore[arg-type]  # mypy takes the keys below for any str
    for grade, draws in {
        "easy": (mild, counts),
        "ordinary": (casebook.softmax, casebook.peaked, one_hot),
        "hard": (zeros_in_q, zeros_in_p, apart, spread),
        "hostile": (opposite_ends, tiny_masses),
    }.items()
    for draw in draws
}


def pair(family: str, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Pair:
    """A pair of histograms of total 1 from one of the families that `emdref.check_sinkhorn` asks about.

    ``mild``, ``counts`` (easy); ``softmax``, ``peaked``, ``one_hot`` (ordinary); ``zeros_in_q``, ``zeros_in_p``,
    ``apart``, ``spread`` (hard); ``opposite_ends``, ``tiny_masses`` (hostile).
    """
    if family not in FAMILIES:
        raise ValueError(f"family={messages.shown(family)} is not one of {', '.join(FAMILIES)}")
    return FAMILIES[family].draw(np.random.default_rng([seed, n]), n, validation.float_dtype(dtype).type)


def chosen(cases: Any, where: Metric, space_or_cost: Any, dtype: Any) -> Iterator[SinkhornCase]:
    """The cases that `cases` names."""
    wanted = [cases] if isinstance(cases, str) else validation.iterable(GRADES if cases is None else cases, "cases")
    if not (wanted := list(wanted)):
        raise ValueError("cases is empty: name grades, families, or give pairs (p, q)")
    for number, item in enumerate(wanted):
        if not isinstance(item, str):
            yield _own(item, number, where, space_or_cost, dtype)
            continue
        families = [name for name, family in FAMILIES.items() if item in (name, family.grade)]
        if not families:
            known = ", ".join((*GRADES, *FAMILIES))
            raise ValueError(f"cases names {messages.shown(item)}, which is neither of {known}")
        for name in families:
            for seed in range(1 if name == "opposite_ends" or where.n_bins > 512 else 2):
                yield SinkhornCase(name, FAMILIES[name].grade, seed, *pair(name, where.n_bins, dtype, seed))


def _own(item: Any, number: int, where: Metric, space_or_cost: Any, dtype: Any) -> SinkhornCase:
    """A pair of the caller's."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"cases[{number}] must be the name of a grade or family, or a pair (p, q)")
    given = {f"cases[{number}][{k}]": containers.row(x, f"cases[{number}][{k}]") for k, x in enumerate(item)}
    containers.check_labels(given, space_or_cost)
    p, q = given.values()
    try:
        rows = inputs.rows(p, q, where, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"cases[{number}], (p, q): {messages.cut(str(error), 280)}") from None
    if rows.shape:
        raise ValueError(f"cases[{number}] is a batch of shape {messages.written(rows.shape)}: give one pair at a time")
    return SinkhornCase("your own", "own", number, rows.p[0], rows.q[0])
