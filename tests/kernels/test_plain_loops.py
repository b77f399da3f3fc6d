"""`emdref.kernels.rows.loops` as plain Python: what they hand from row formula to row formula, and where they stop."""

import math

import numpy as np
import pytest

import plain

emdref = plain.original()
loops = emdref.kernels.rows.loops

LINE = emdref.Chain(gaps=[1.0, 3.0])
P, Q = np.array([1.0, 0.0, 0.5]), np.array([0.0, 0.25, 1.25])
RAW, SCALED, NORMALIZED = 0, 2, 3
NONE_GIVEN = np.empty((1, 0, 0))  # flows


@pytest.fixture
def scratch():
    rows = {k: np.zeros(3) for k in ("h", "l", "err", "rh", "rl", "a", "b", "phi", "r")}
    return rows | {k: np.full((2, 3), np.nan) for k in ("c", "w", "g")}


def second(scratch, p, q, rho, gauge=RAW, space=LINE, normalize=False):
    layout = space.rooted
    rest = (tuple(map(scratch.get, names)) for names in (("h", "l", "err"), ("rh", "rl"), ("c", "w", "g")))
    tree = layout.parent, layout.cost, layout.bin_node
    return loops._second(p, q, tree, (rho, normalize, gauge), False, *rest)


def test_totals_count_as_1_unless_asked_for(scratch):
    assert loops._native_masses(P, Q, False, scratch["a"], scratch["b"]) == 1
    assert (scratch["a"] == P).all() and (scratch["b"] == Q).all()
    assert loops._native_masses(P, Q, True, scratch["a"], scratch["b"]) == 1.5
    assert (scratch["a"] == P / 1.5).all() and (scratch["b"] == Q / 1.5).all()


def test_a_refused_row_has_no_factor(scratch, monkeypatch):
    """Neither a flow that does not settle, nor a power out of range, nor an infinite curvature hands on a number."""
    assert second(scratch, P, P, 1.5)[:2] == (True, 1)
    assert second(scratch, P, P, 1.5) == (True, 1, 0.0, 0.0, 0)
    assert second(scratch, P * 1e-300, Q * 1e-300, 5.0) == (False, 0, 0.0, 0.0, 0)
    monkeypatch.setattr(loops, "_settled_flow", lambda *_: False)
    assert second(scratch, P, Q, 3.0) == (False, 0, 0.0, 0.0, 0)


def test_the_factor_where_nothing_flows_is_1(scratch):
    for gauge in (RAW, 1):
        assert second(scratch, P, P, 3.0, gauge) == (True, 0, 1.0, 0.0, 0)


def test_at_rho_1_the_factor_has_no_unit_in_it(scratch):
    """There is no curvature: what is left are the gradient's own units, whose power is 0."""
    for scale in (1.0, 3.0):
        _, edge, fh, fl, e = second(scratch, P * scale, Q * scale, 1.0)
        m = loops.hessian_two_limbs.units(scratch["h"], scratch["l"], LINE.rooted.cost, 1.0)[2]
        assert (edge, fl, math.ldexp(fh, e - m)) == (0, 0.0, 1.0)


def test_a_row_is_unsafe_if_either_check_says_so(monkeypatch):
    layout = LINE.rooted
    for settled, alone in ((True, True), (True, False), (False, True), (False, False)):
        monkeypatch.setattr(loops, "_settled_flow", lambda *_, answer=settled: answer)
        monkeypatch.setattr(loops.two_limbs, "rounds_alone", lambda *_, answer=alone: answer)
        phi, unsafe = np.empty((1, 3)), np.zeros(1, bool)
        loops.flow_twolimb(P[None], Q[None], phi, unsafe, layout.parent, np.ones(3), layout.bin_node, False)
        assert unsafe[0] == (not (settled and alone))


def test_a_single_row_without_flow_has_a_gradient_of_0():
    layout = LINE.rooted
    value, grad, unsafe = np.full(1, np.nan), np.full((1, 3), np.nan), np.ones(1, bool)
    shared = (layout.parent, layout.cost, layout.bin_node), (2.5, False, RAW)
    loops.emd_twolimb(P[None], P[None], value, grad, unsafe, NONE_GIVEN, *shared)
    assert value[0] == 0 and not grad.any() and not unsafe[0]


@pytest.mark.parametrize("name", ["hess_native", "hvp_native", "hess_twolimb", "hvp_twolimb"])
def test_nothing_is_written_where_the_curvature_is_infinite(name):
    layout, p, q = LINE.rooted, np.array([P, P, P]), np.array([Q, P, Q])
    out = np.full((3, 3, 3) if "hess" in name else (3, 3), np.nan)
    twolimb, infinite = "twolimb" in name, np.full(3, -1)
    way = [] if "hess" in name else [np.array([[1.0, 2.0, 3.0]] * 3)]
    shared = (layout.parent, layout.cost, layout.bin_node), (1.5, False, RAW)
    getattr(loops, name)(p, q, *way, out, *[np.ones(3, bool)] * twolimb, infinite, *[NONE_GIVEN] * twolimb, *shared)
    assert infinite.tolist() == [0, 1, 0]
    assert np.isnan(out[1]).all() and np.isfinite(out[[0, 2]]).all()


def test_curvatures_are_not_filled_in_beside_an_infinite_one(scratch):
    layout, rest = LINE.rooted, [scratch[k] for k in ["a", "b", "phi", "r"]]
    c, w, g = np.full(3, np.nan), np.empty(3), np.empty(3)
    shared = (layout.parent, layout.cost, layout.bin_node), (1.5, False, RAW)
    assert loops._native_second(P, P, *shared, (*rest, c, w, g)) == (1, 1)
    assert np.isnan(c).all()


def test_what_second_derivatives_ask_to_be_trusted(monkeypatch):
    """Entries by themselves only for a matrix in gauge raw; the gradient's error counts in its units."""
    asked = []
    monkeypatch.setattr(loops.hessian_two_limbs, "trustworthy", lambda *x: asked.append(x[4:7]) or True)
    monkeypatch.setattr(loops.hessian_two_limbs, "bends", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(loops.two_limbs, "descend", lambda *_: (0.0, 0.0, 0.0, 0.125))
    monkeypatch.setattr(loops.hessian_two_limbs, "centred_slope", lambda *_: None)
    monkeypatch.setattr(loops.two_limbs, "unit_power", lambda *_: (0.75, 0.0, 3))
    monkeypatch.setattr(loops.hessian_two_limbs, "product", lambda *x: x[-1].fill(0.0))
    monkeypatch.setattr(loops.hessian_two_limbs, "border", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(loops.hessian_two_limbs, "line", lambda *_: None)
    layout, p, q = LINE.rooted, P[None], Q[None]
    for gauge, relative in ((RAW, True), (1, False), (SCALED, False), (NORMALIZED, False)):
        shared = (layout.parent, layout.cost, layout.bin_node), (3.0, gauge == NORMALIZED, gauge)
        total = 0.125 * 0.75 * 8 if gauge == NORMALIZED else 0.0
        loops.hvp_twolimb(p, q, p, np.empty((1, 3)), np.ones(1, bool), np.ones(1, int), NONE_GIVEN, *shared)
        loops.hess_twolimb(p, q, np.empty((1, 3, 3)), np.ones(1, bool), np.ones(1, int), NONE_GIVEN, *shared)
        assert asked == [(0.0, total, False), (0.0, total, relative)]
        asked.clear()
