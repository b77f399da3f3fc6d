"""Flows in long accumulators beside exact rationals, and that rows which need them need nothing slower."""

from fractions import Fraction

import hostile
import numpy as np
import pytest

import emdref
from emdref import fallback
from emdref.closed_form import exact_rows
from emdref.exact import definitions
from test_plain_kulisch import KINDS, check


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalize", [False, True])
def test_limbs_are_those_of_exact_flows(kind, normalize):
    rng = np.random.default_rng(len(kind))
    for _ in range(40):
        check(rng, kind, normalize, emdref)


CALLS = {
    "flow": lambda p, q, space: emdref.flow(p, q, space),
    "flow of shares": lambda p, q, space: emdref.flow(p, q, space, mass="normalize"),
    "value of shares": lambda p, q, space: emdref.emd(p, q, space, mass="normalize"),
    "gradient": lambda p, q, space: emdref.emd_grad(p, q, space, gauge="normalized"),
    "value and gradient, rho = 3": lambda p, q, space: emdref.emd_value_and_grad(p, q, space, 3, mass="normalize"),
    "rho = 2.5": lambda p, q, space: emdref.emd_grad(p, q, space, 2.5),
    "product": lambda p, q, space: emdref.emd_hvp(p, q, space, p, gauge="normalized"),
    "product, rho = 3": lambda p, q, space: emdref.emd_hvp(p, q, space, p, 3),
    "Hessian": lambda p, q, space: emdref.emd_hess(p, q, space, 3, mass="normalize"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("space", [emdref.Chain(60), emdref.Tree([-1, *(v // 3 for v in range(99))])], ids=repr)
def test_rows_of_wide_range_need_no_rationals(call, space, monkeypatch):
    """512 softmaxes of 1000 bins took seconds in Python's integers, where others took milliseconds."""
    for slow in ("emd", "hess", "hvp"):
        monkeypatch.setattr(exact_rows, slow, None)
    rng = np.random.default_rng(0)
    for scale in (20, 50, 100):
        x = scale * rng.standard_normal((2, 64, space.n_bins))
        x = np.exp(x - x.max(-1, keepdims=True))
        with fallback.counting() as count:
            CALLS[call](*(x / x.sum(-1, keepdims=True)), space)
    assert count.rows == 64
    assert count.exact or "2.5" in call or "product" in call


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "normalized"])
def test_values_and_gradients_of_exact_flows_keep_their_bounds(rho, gauge):
    rng = np.random.default_rng(rho)
    space = emdref.Chain(gaps=hostile.costs(rng, 60)[1:])
    for scale in (30, 100, 300):
        x = scale * rng.standard_normal((2, 3, space.n_bins))
        p, q = np.exp(x - x.max(-1, keepdims=True))
        with fallback.counting() as count:
            value, grad = emdref.emd_value_and_grad(p, q, space, rho, gauge=gauge, mass="normalize")
        assert count.exact or scale < 300
        for i in range(len(p)):
            row = definitions.Row(p[i], q[i], space, True)
            exact = definitions.value(row, rho) * row.cost_unit * row.phi_unit**rho
            assert abs(Fraction(value[i]) - exact) <= Fraction(np.spacing(value[i]))
            numbers, unit = definitions.gradient(row, rho, gauge)
            steepest = max(map(abs, definitions.slopes(row, rho))) * row.cost_unit * row.phi_unit ** (rho - 1)
            steepest /= Fraction(float(p[i].sum())) if gauge == "normalized" else 1
            for found, number in zip(grad[i].tolist(), numbers, strict=True):
                assert abs(Fraction(found) - number * unit) <= 8 * Fraction(2) ** -52 * steepest
