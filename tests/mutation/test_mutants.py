"""Tests of the tests: seeded faults in the source, each of which the checks that the suite relies on must find.

A mutant is the package as plain Python with one named edit.  A check is a test of the plain kernels; it passes on the
unedited code and fails on the mutant.  An edit whose old text is not in the source exactly once is an error.
"""

import sys
from dataclasses import dataclass

import numpy as np
import pytest

import plain
import test_plain_entropic
import test_plain_exact
import test_plain_floats
import test_plain_hessian
import test_plain_layers
import test_plain_native
import test_plain_one_limb
import test_plain_plan
import test_plain_tiles
import test_plain_two_limbs

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


@dataclass(frozen=True)
class Mutant:
    """An edit, and the test that must notice."""

    name: str
    path: str
    old: str
    new: str
    module: object
    check: str
    arguments: tuple = ()


NATIVE, TWOLIMB, HESSIAN, EXACT = test_plain_native, test_plain_two_limbs, test_plain_hessian, test_plain_exact
TILES, ONE_LIMB = test_plain_tiles, test_plain_one_limb

FLIPPED_SIGNS = [
    Mutant(
        "native slope",
        "kernels/arithmetic/edges.py",
        "    if rho == 1:\n        return sgn(phi)",
        "    if rho == 1:\n        return -sgn(phi)",
        TILES,
        "test_native_value_and_gradient",
        (1,),
    ),
    Mutant(
        "slope in two limbs",
        "kernels/arithmetic/edges.py",
        "return abs(ph), product(pl, sgn(h)), product(w, sgn(h)), l - l",
        "return abs(ph), product(pl, sgn(h)), product(w, sgn(-h)), l - l",
        TILES,
        "test_value_and_gradient",
        (1, float),
    ),
    Mutant(
        "sign of a cube's second limb",
        "kernels/arithmetic/edges.py",
        "times2(qh, ql, abs(h), product(l, sign))",
        "times2(qh, ql, abs(h), l)",
        TILES,
        "test_an_edge_in_two_limbs",
        (3,),
    ),
    Mutant(
        "q is added",
        "kernels/tiles/two_limbs.py",
        "h, l, lost = two_limb_sums.lifted(h, l, lost, *two_sum(load(a, j), -load(b, j)), closely)",
        "h, l, lost = two_limb_sums.lifted(h, l, lost, *two_sum(load(a, j), load(b, j)), closely)",
        TILES,
        "test_value_and_gradient",
        (2, float),
    ),
    Mutant(
        "the mean is added",
        "kernels/tiles/plain.py",
        "        r = zero - sums[1] if share > 0 else zero\n        start",
        "        r = zero + sums[1] if share > 0 else zero\n        start",
        TILES,
        "test_native_value_and_gradient",
        (2,),
    ),
    Mutant(
        "two-limb slope",
        "kernels/rows/two_limbs.py",
        "add2(rh[v], rl[v], product(sign, sh), product(sign, sl))",
        "add2(rh[v], rl[v], product(-sign, sh), product(-sign, sl))",
        TWOLIMB,
        "test_value_and_gradient",
        (2,),
    ),
    Mutant(
        "sign of the second limb alone",
        "kernels/rows/two_limbs.py",
        "return sign * h[top], sign * l[top],",
        "return sign * h[top], l[top],",
        TWOLIMB,
        "test_units",
    ),
    Mutant(
        "exact slope",
        "spaces/space.py",
        "(1 if f > 0 else -1)",
        "(-1 if f > 0 else 1)",
        EXACT,
        "test_flow_value_and_gradient",
        (False,),
    ),
    Mutant(
        "rank-one term of the normalized Hessian",
        "kernels/rows/hessian.py",
        "(out[k] - shared - g[k] * s)",
        "(out[k] - shared + g[k] * s)",
        NATIVE,
        "test_hessian_and_product",
        (2, 3),
    ),
]

OFF_BY_ONE = [
    Mutant(
        "the lift stops two nodes early",
        "kernels/rows/native.py",
        "for v in range(len(t) - 1, 0, -1):",
        "for v in range(len(t) - 1, 2, -1):",
        NATIVE,
        "test_flow",
    ),
    Mutant(
        "a tile's lift stops a node early",
        "kernels/tiles/plain.py",
        "for v in range(len(parent) - 1, 0, -1):",
        "for v in range(len(parent) - 1, 1, -1):",
        TILES,
        "test_native_value_and_gradient",
        (2,),
    ),
    Mutant(
        "a two-limb tile's lift forgets the last node",
        "kernels/tiles/two_limbs.py",
        "for v in range(min(first + two_limb_sums.EDGES, len(parent)) - 1, max(first, 1) - 1, -1):",
        "for v in range(min(first + two_limb_sums.EDGES, len(parent)) - 2, max(first, 1) - 1, -1):",
        TILES,
        "test_value_and_gradient",
        (2, float),
    ),
    Mutant(
        "the way back starts a bin early",
        "kernels/tiles/two_limbs.py",
        "for j in range(size - 1, -1, -1):",
        "for j in range(size - 2, -1, -1):",
        TILES,
        "test_value_and_gradient",
        (2, float),
    ),
    Mutant(
        "one inner node is left out on the way down",
        "kernels/tiles/plain.py",
        "for i in range(1, len(inner)):",
        "for i in range(2, len(inner)):",
        TILES,
        "test_native_value_and_gradient",
        (2,),
    ),
    Mutant(
        "phi after the block, not before",
        "kernels/tiles/plain.py",
        "phi = load(marks, start // inspection.COLUMNS)",
        "phi = load(marks, start // inspection.COLUMNS + 1)",
        TILES,
        "test_blocks_of_columns_change_nothing",
        ("native", pytest.MonkeyPatch),
    ),
    Mutant(
        "the last entry is not looked at",
        "kernels/tiles/inspection.py",
        "    for k in range(whole, n):\n        x, y = ",
        "    for k in range(whole, n - 1):\n        x, y = ",
        TILES,
        "test_the_first_look_finds_what_is_wrong_wherever_it_is",
        (np.float64, pytest.MonkeyPatch),
    ),
    Mutant(
        "the last row of a tile is left out",
        "kernels/arithmetic/lanes.py",
        "    for w in range(rows):\n        for j in range(columns):\n            x[at",
        "    for w in range(rows - 1):\n        for j in range(columns):\n            x[at",
        TILES,
        "test_rows_into_lanes_and_back",
        ("f8", "f8"),
    ),
    Mutant(
        "the last node is not lifted",
        "kernels/rows/two_limbs.py",
        "for v in range(len(h) - 1, 0, -1):\n        u = parent[v]",
        "for v in range(len(h) - 2, 0, -1):\n        u = parent[v]",
        TWOLIMB,
        "test_flows_of_a_batch",
    ),
    Mutant(
        "the last bin is forgotten",
        "kernels/rows/two_limbs.py",
        "_clear(h, l, err)\n    for k in range(len(p)):\n        _accumulate(bin_node[k], p[k]",
        "_clear(h, l, err)\n    for k in range(len(p) - 1):\n        _accumulate(bin_node[k], p[k]",
        TWOLIMB,
        "test_flows_of_a_batch",
    ),
    Mutant(
        "the first edge down has no slope",
        "kernels/rows/native.py",
        "for v in range(1, len(phi)):",
        "for v in range(2, len(phi)):",
        NATIVE,
        "test_slopes_down_from_the_root",
        (1,),
    ),
    Mutant(
        "a chain's last edge is dropped",
        "spaces/chain.py",
        "return list(accumulate(net))[:-1]",
        "return [*list(accumulate(net))[:-2], *net[:1]][: len(net) - 1]",
        EXACT,
        "test_flow_value_and_gradient",
        (False,),
    ),
    Mutant(
        "siblings are told apart one too late",
        "kernels/entropic/products.py",
        "parent[c] != parent[c - 1]",
        "parent[c - 1] != parent[c - 2]",
        test_plain_entropic,
        "test_moments_are_the_dense_product_entry_by_entry",
        ("tree", False),
    ),
    Mutant(
        "the exponent of a power",
        "kernels/arithmetic/edges.py",
        "return rho * power(phi, rho - one) * sgn(phi)",
        "return rho * power(phi, rho) * sgn(phi)",
        test_plain_floats,
        "test_power_slope_and_bend",
        (float,),
    ),
]

DROPPED_COMPENSATION = [
    Mutant(
        "the second limb is dropped",
        "kernels/rows/two_limbs.py",
        "    l[v], lost = two_sum(l[v], e)",
        "    lost = 0.0 * e",
        TWOLIMB,
        "test_a_third_limb_is_dropped_and_bounded",
    ),
    Mutant(
        "a child hands on its first limb alone",
        "kernels/rows/two_limbs.py",
        "        l[u], lost = two_sum(l[u], l[v])\n        err[u] += err[v] + abs(lost)",
        "        err[u] += err[v]",
        TWOLIMB,
        "test_limbs_are_within_their_bound_and_the_bound_is_small",
        (False,),
    ),
    Mutant(
        "what falls off is not bounded",
        "kernels/rows/two_limbs.py",
        "    err[v] += abs(lost)\n\n\n@row\ndef _lift",
        "\n\n@row\ndef _lift",
        TWOLIMB,
        "test_every_sign_is_right_in_the_end",
        ("raise", TWOLIMB.HARD[1]),
    ),
    Mutant(
        "two_sum without its error",
        "kernels/arithmetic/floats.py",
        "return s, (a - (s - z)) + (b - z)",
        "return s, 0.0 * z",
        TWOLIMB,
        "test_value_and_gradient",
        (3,),
    ),
    Mutant(
        "a product without its error",
        "kernels/arithmetic/floats.py",
        "return p, e + (product(ah, bl) + product(al, bh))",
        "return p, ah * bl + al * bh",
        HESSIAN,
        "test_hessian_and_product",
        (3, 2),
    ),
    Mutant(
        "a tile's sums drop what the high limb loses",
        "kernels/tiles/two_limb_sums.py",
        "    return h, l + (xl + e)",
        "    return h, l + xl",
        TILES,
        "test_every_sign_is_right",
        (0,),
    ),
    Mutant(
        "a tile never looks closer",
        "kernels/tiles/two_limb_sums.py",
        "return 0.0 if limb <",
        "return 0.0 if limb >= 0.0 or limb <",
        TILES,
        "test_every_sign_is_right",
        (0,),
    ),
    Mutant(
        "the bound of lost bits is an entry's, not the row's",
        "kernels/tiles/two_limb_sums.py",
        "4.0 * entries * limb * 2.0**-53",
        "limb * 2.0**-110",
        TILES,
        "test_the_bound_of_lost_bits_is_one",
        (np.float64,),
    ),
    Mutant(
        "float32 entries are taken for longer ones",
        "kernels/tiles/two_limb_sums.py",
        "2.0 ** (53 - digits)",
        "2.0 ** (106 - digits)",
        TILES,
        "test_every_sign_is_right",
        (0,),
    ),
    Mutant(
        "a kink amid lost bits is believed",
        "kernels/tiles/two_limb_sums.py",
        "least > 2.0 * lost and ",
        "",
        TILES,
        "test_every_sign_is_right",
        (0,),
    ),
    Mutant(
        "the mean in one limb",
        "kernels/tiles/two_limb_sums.py",
        "return q, ((h - p) - e + l) / share",
        "return q, l / share",
        TILES,
        "test_the_mean_and_the_factor_have_two_limbs",
    ),
    Mutant(
        "the fallback is never taken",
        "kernels/rows/loops.py",
        "return safe and two_limbs.rounds_alone(h, err)",
        "return True",
        TWOLIMB,
        "test_every_sign_is_right_in_the_end",
        ("raise", TWOLIMB.HARD[1]),
    ),
    Mutant(
        "a mean in one limb",
        "kernels/rows/layers.py",
        "mul2(*add2(y[0, k], y[1, k], -mh, -ml), f[0, k], f[1, k])",
        "mul2(y[0, k] - mh, 0.0, f[0, k], f[1, k])",
        test_plain_layers,
        "test_layers_and_their_products",
        ("l1",),
    ),
]

BOUNDS = [
    Mutant(
        "one limb's value is believed",
        "kernels/tiles/one_limb.py",
        "number * ((nodes + 24.0) * _UNIT)",
        "number * 0.0",
        ONE_LIMB,
        "test_results_that_are_all_but_halfway",
        ("chain", sum, 0),
    ),
    Mutant(
        "one limb's gradient is believed",
        "kernels/tiles/one_limb.py",
        "(24.0 + 2.0 * rho) * _UNIT",
        "0.0",
        ONE_LIMB,
        "test_results_that_are_all_but_halfway",
        ("chain", ONE_LIMB.entry, 1),
    ),
    Mutant(
        "one limb's gradient on a tree is believed",
        "kernels/tiles/one_limb.py",
        "rho * factor * _UNIT)\n    error = _unless_exact(error, mean,",
        "0.0)\n    error = _unless_exact(error, mean,",
        ONE_LIMB,
        "test_results_that_are_all_but_halfway",
        ("tree", ONE_LIMB.entry, 1),
    ),
    Mutant(
        "nothing is ever near a place where rounding changes",
        "kernels/arithmetic/lanes.py",
        "return (np.float32(x + d) - np.float32(x - d)).astype(np.float64)",
        "return x - x",
        ONE_LIMB,
        "test_results_that_are_all_but_halfway",
        ("tree", sum, 0),
    ),
    Mutant(
        "any flow fits into one limb",
        "kernels/tiles/one_limb.py",
        "looks[5, w] * 2.0**28",
        "looks[5, w] * 2.0**128",
        ONE_LIMB,
        "test_a_digit_that_one_limb_has_no_room_for",
    ),
    Mutant(
        "sums of any length are exact",
        "kernels/tiles/one_limb.py",
        "_SHORT = 2.0**48",
        "_SHORT = 2.0**300",
        ONE_LIMB,
        "test_results_that_are_all_but_halfway",
        ("chain", sum, 0),
    ),
]

CUMULATIVE_SUMS = [
    Mutant(
        "cumsum(p) - cumsum(q)",
        "kernels/rows/native.py",
        "        phi[bin_node[k]] = p[k] - q[k]\n    lift(parent, phi)",
        "        phi[bin_node[k]] = p[k]\n    lift(parent, phi)\n    other = phi * 0\n    for k in range(len(p)):\n"
        "        other[bin_node[k]] = q[k]\n    lift(parent, other)\n    phi -= other",
        NATIVE,
        "test_subtraction_comes_first",
    ),
    Mutant(
        "a tile's cumsum(p) - cumsum(q)",
        "kernels/tiles/plain.py",
        "        phi = phi + load(block, j)\n",
        "        s = load(block, j)\n        phi = (phi + (s + 1)) - 1\n",
        TILES,
        "test_native_subtraction_comes_first",
    ),
    Mutant(
        "p is summed before q is subtracted, in one limb",
        "kernels/rows/two_limbs.py",
        "        _accumulate(bin_node[k], p[k], h, l, err)\n        _accumulate(bin_node[k], -q[k], h, l, err)",
        "        h[bin_node[k]] += p[k] - q[k]",
        TWOLIMB,
        "test_flows_of_a_batch",
    ),
]

WRONG_GAUGES = [
    Mutant(
        "raw for zero_sum",
        "closed_form/escalation.py",
        "centred = gauge in (gauges.ZERO_SUM, gauges.SCALED)",
        "centred = gauge == gauges.SCALED",
        TILES,
        "test_native_value_and_gradient",
        (2,),
    ),
    Mutant(
        "raw for zero_sum, on the way of rows that are looked at more closely",
        "kernels/rows/loops.py",
        "    elif gauge != _RAW:\n        oh, ol = two_limbs.mean_at_bins(rh, rl, bin_node)",
        "    elif gauge == _RAW:\n        oh, ol = two_limbs.mean_at_bins(rh, rl, bin_node)",
        TWOLIMB,
        "test_value_and_gradient",
        (2,),
    ),
    Mutant(
        "zero_sum for scaled",
        "closed_form/escalation.py",
        "bins if gauge == gauges.SCALED else 1",
        "1",
        TILES,
        "test_value_and_gradient",
        (1, float),
    ),
    Mutant(
        "zero_sum for scaled, in second derivatives",
        "kernels/rows/loops.py",
        "    if gauge == _SCALED:\n        return n\n",
        "",
        NATIVE,
        "test_hessian_and_product",
        (3, 2),
    ),
    Mutant(
        "normalized without its mean",
        "closed_form/escalation.py",
        "line[:] = (line - (shares.p * line).sum(axis=1, keepdims=True)) / mass",
        "line[:] = line / mass",
        TILES,
        "test_native_value_and_gradient",
        (2,),
    ),
    Mutant(
        "a tile's mean over one bin too few",
        "kernels/tiles/two_limbs.py",
        "load(t, v + 1), cost, float(k + 1), rho, 0.0)",
        "load(t, v + 1), cost, float(k), rho, 0.0)",
        TILES,
        "test_value_and_gradient",
        (2, float),
    ),
    Mutant(
        "two-limb scaled, N once for a Hessian",
        "kernels/rows/loops.py",
        "fh, fl = mul2(*mul2(fh, fl, gh, gl), gh, gl)",
        "fh, fl = mul2(fh, fl, gh, gl)",
        HESSIAN,
        "test_hessian_and_product",
        (3, 2),
    ),
    Mutant(
        "the mean over nodes, not bins",
        "kernels/rows/two_limbs.py",
        "    return div2(h, l, float(len(bin_node)), 0.0)",
        "    return div2(h, l, float(len(rh)), 0.0)",
        TWOLIMB,
        "test_value_and_gradient",
        (1,),
    ),
    Mutant(
        "normalized without 1 / |p|",
        "kernels/rows/loops.py",
        "        return h, l, -mass_exp",
        "        return 1.0, 0.0, 0",
        TWOLIMB,
        "test_value_and_gradient",
        (1,),
    ),
    Mutant(
        "exact weights of gauge normalized",
        "exact/definitions.py",
        'return row.p if gauge == "normalized" else [1] * len(row.p)',
        "return [1] * len(row.p)",
        EXACT,
        "test_flow_value_and_gradient",
        (False,),
    ),
]

PLANS = [
    Mutant(
        "mass from the target to the source",
        "kernels/trees/matching.py",
        "source, target = (a, b) if sign[a] == 1 else (b, a)",
        "source, target = (b, a) if sign[a] == 1 else (a, b)",
        test_plain_plan,
        "test_plans",
        ("ignore", np.float64),
    ),
    Mutant(
        "those who wait at the parent are forgotten",
        "kernels/trees/matching.py",
        "after[last[v]] = first[u]",
        "after[last[v]] = _NOBODY",
        test_plain_plan,
        "test_plans",
        ("ignore", np.float64),
    ),
    Mutant(
        "nothing is borrowed from the next digit",
        "kernels/arithmetic/digits.py",
        "- x[k, i] - borrow",
        "- x[k, i]",
        test_plain_plan,
        "test_plans",
        ("ignore", np.float64),
    ),
]

MUTANTS = [*FLIPPED_SIGNS, *OFF_BY_ONE, *DROPPED_COMPENSATION, *BOUNDS, *CUMULATIVE_SUMS, *WRONG_GAUGES, *PLANS]


SOUND = {}  # whether a check passes on the unedited code: many faults have the same one


def holds(mutant, library, monkeypatch):
    """Whether the check passes on a copy of the package."""
    monkeypatch.setattr(mutant.module, "emdref", library)
    arguments = [monkeypatch if x is pytest.MonkeyPatch else x for x in mutant.arguments]
    try:
        getattr(mutant.module, mutant.check)(*arguments)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_seeded_fault_is_found(mutant, monkeypatch):
    check = mutant.module.__name__, mutant.check, repr(mutant.arguments)
    if check not in SOUND:
        SOUND[check] = holds(mutant, plain.original(), monkeypatch)
    assert SOUND[check]
    assert not holds(mutant, plain.load({mutant.path: [(mutant.old, mutant.new)]}), monkeypatch)


def test_an_edit_that_does_not_apply_is_an_error():
    with pytest.raises(LookupError, match="0 times, not once"):
        plain.load({"kernels/rows/native.py": [("no such text", "")]})
    with pytest.raises(LookupError, match="times, not once"):
        plain.load({"kernels/rows/native.py": [("for v in", "")]})
    with pytest.raises(LookupError, match="no module"):
        plain.load({"kernels/nowhere.py": [("a", "b")]})


def test_a_mutant_is_seen_by_nobody_else():
    import emdref.kernels.arithmetic.edges

    changed = plain.load({"kernels/arithmetic/edges.py": [("return phi + phi", "return phi")]})
    assert (
        sys.modules["emdref"] is emdref
        and sys.modules["emdref.kernels.arithmetic.edges"] is emdref.kernels.arithmetic.edges
    )
    libraries = (changed, plain.original(), emdref)
    assert len({id(library.kernels.arithmetic.edges) for library in libraries}) == 3
    grads = [x.emd_grad([1.0, 0.0], [0.0, 1.0], x.Chain(2), 2, accuracy="native").tolist() for x in libraries[:2]]
    assert grads == [[0.5, -0.5], [1, -1]]
