"""Small calls by the straight way give what the general way gives: bits, types, errors and warnings, word for word."""

import copy
import gc
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import numba
import numpy as np
import pytest

import emdref
from emdref.closed_form import batches, escalation, prepared
from emdref.spaces.space import Kernel

BINS = 6
RNG = np.random.default_rng(7)
P, Q = RNG.random((2, 4, BINS)).tolist()
P, Q = (np.array(x) / np.sum(x, axis=1, keepdims=True) for x in (P, Q))
V = RNG.standard_normal((4, BINS))
TOLERANCE = 16 * np.finfo(float).eps * np.sqrt(BINS)
TREE = emdref.Tree([8, 6, 6, 7, 7, 8, 7, 8, -1], [1.0, 0.1, 2.0, 3.0, 0, 0.7, 0.5, 2, 0], bins=[0, 1, 2, 3, 4, 5])
SPACES = {
    "chain": emdref.Chain(BINS),
    "gaps": emdref.Chain(gaps=[1.0, 0.0, 0.3, 2.5, 1e3]),
    "tree": TREE,
    "circle": emdref.Circle(BINS),
}
KINDS = "chain", "tree", "circle"


class Own(np.ndarray):
    pass


class Text(str):
    __slots__ = ()


class Posing:
    """Equal to a text, and no text."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return self.text == other

    def __hash__(self):
        return hash(self.text)


def put(x, at, value):
    x = x.copy()
    x[at] = value
    return x


def strided(x):
    return np.repeat(x, 2, axis=-1)[..., ::2]


def odd_address(x):
    """The same numbers one byte further on than floats lie."""
    raw = np.empty(x.nbytes + 1, np.uint8)
    moved = raw[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


def read_only(x):
    x = x.copy()
    x.setflags(write=False)
    return x


COUNTS, OTHERS = np.array([3, 0, 1, 4, 1, 5]), np.array([0, 6, 2, 2, 4, 0])
GOOD = {  # what the straight way takes
    "one pair": (P[0], Q[0]),
    "rows": (P, Q),
    "one row": (P[:1], Q[:1]),
    "float32": (P[0].astype("f4"), Q[0].astype("f4")),
    "float32 rows": (P.astype("f4"), Q.astype("f4")),
    "itself": (P, P),
    "read-only": (read_only(P), read_only(Q)),
    "totals just near enough": (P, Q * (1 + 0.4 * TOLERANCE)),
    "one bin alone": (put(0 * P[0], 0, 1.0), put(0 * P[0], 5, 1.0)),
}
VALUED = {  # what it takes for values and gradients
    "p for all": (P[0], Q),
    "q for all": (P, Q[1]),
    "lists": (COUNTS.tolist(), OTHERS.tolist()),
    "lists of floats": (P[0].tolist(), Q[0].tolist()),
    "a tuple and an array": (tuple(P[0].tolist()), Q[0]),
    "integers": (COUNTS, OTHERS),
    "small integers": (COUNTS.astype(np.uint8), OTHERS.astype(np.int16)),
    "integers and floats": (COUNTS, OTHERS.astype(float)),
    "large integers": (COUNTS * 2**50, OTHERS * 2**50),
}
OTHER = {
    "one line of rows": (P, Q[:1]),
    "three axes": (P.reshape(2, 2, BINS), Q.reshape(2, 2, BINS)),
    "no rows": (P[:0], Q[:0]),
    "fortran": (np.asfortranarray(P), np.asfortranarray(Q)),
    "strided": (strided(P), strided(Q)),
    "backwards": (P[:, ::-1], Q[::-1]),
    "odd address": (odd_address(P), odd_address(Q)),
    "big-endian": (P.astype(">f8"), Q.astype(">f8")),
    "with metadata": (P.astype(np.dtype("f8", metadata={"a": 1})), Q),
    "subclass": (P.view(Own), Q.view(Own)),
    "nothing masked": (np.ma.array(P), Q),
    "masked": (np.ma.array(P, mask=P > 0.3), Q),
    "float16": (P.astype("f2"), Q.astype("f2")),
    "longdouble": (P.astype("g"), Q.astype("g")),
    "complex": (P.astype("c16"), Q.astype("c16")),
    "bool": (P > 0, Q > 0),
    "object": (P.astype(object), Q.astype(object)),
    "text": ("many", Q),
    "none": (None, Q),
    "two dtypes": (P.astype("f4"), Q),
    "a list and float32": (P[0].tolist(), Q[0].astype("f4")),
    "ragged": ([[1, 2], [3]], Q),
    "lists of lists": (P.tolist(), Q.tolist()),
    "a list with truth": ([True, 0, 0, 0, 0, 0], Q[0]),
    "a list with NumPy's": (list(P[0]), Q[0]),
    "an empty list": ([], []),
    "wide integers": (put(COUNTS, 1, 2**53), OTHERS),
    "wide negative": (put(COUNTS, 1, -(2**53)), OTHERS),
    "wide unsigned": (COUNTS.astype("u8") << np.uint64(60), OTHERS),
    "wide list": ([2**53, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2**53]),
    "wider list": ([2**64, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2**70]),
    "negative integers": (put(COUNTS, 1, -3), OTHERS),
    "few bins": (P[:, 1:], Q[:, 1:]),
    "few bins of q": (P, Q[:, 1:]),
    "few rows of q": (P, Q[1:]),
    "no axes": (np.float64(1.0), Q),
    "no axes of arrays": (np.array(1.0), np.array(1.0)),
    "nan": (put(P, (1, 2), np.nan), Q),
    "nan in q": (P, put(Q, (3, 5), np.nan)),
    "inf": (put(P, (1, 2), np.inf), Q),
    "inf in both": (put(P, (1, 2), np.inf), put(Q, (1, 2), np.inf)),
    "negative": (put(P, (2, 0), -1e-300), Q),
    "negative zero": (put(P, (2, 0), -0.0) / put(P, (2, 0), 0).sum(1)[:, None], Q),
    "no mass": (put(P, 3, 0), put(Q, 3, 0)),
    "no mass in q": (P, put(Q, 2, 0)),
    "totals as far apart as can be": (P, Q * (1 + 0.99 * TOLERANCE)),
    "totals too far apart": (P, Q * (1 + 1.1 * TOLERANCE)),
    "one total too far apart": (P, put(Q, 2, Q[2] * (1 + 1.5 * TOLERANCE))),
    "totals apart": (P, 3 * Q),
    "beyond the range": (put(P, 0, 1e308), put(Q[::-1], 0, 1e308)),
    "float32 beyond": (P.astype("f4") * np.float32(1e38), Q.astype("f4") * np.float32(1e38)),
    "subnormal": (P * 1e-310, Q * 1e-310),
    "what two limbs cannot hold": ([1, 2.0**-60, 2.0**-120, 0, 0, 0], [0, 0, 0, 1, 2.0**-60, 2.0**-120]),
}
TAKEN = [
    *({"rho": rho} for rho in (1, 2, 2.0, np.float64(2), 3, 4)),
    *({"accuracy": "native", "rho": rho} for rho in (1, 2, 2.5)),
    {"mass": "ignore"},
    *({"gauge": gauge} for gauge in ("raw", "scaled")),
]
NOT_TAKEN = [
    *({"rho": rho} for rho in (True, np.True_, "2", np.nan, np.inf, 0.5, -1, None, [2], 10**400, 10**20, 1e200, 2.5)),
    *({"rho": rho} for rho in (np.float32(2), Fraction(2), Decimal(2), np.array(2.0), np.array([2.0]), 1 + 0j)),
    *({"rho": rho, "accuracy": "native"} for rho in (1e39, 1e200, 1.5)),
    *({name: bad} for name in ("mass", "accuracy", "gauge") for bad in (None, "odd", ["raise"], 1, Text("odd"))),
    *({"mass": x} for x in ("normalize", Text("raise"), np.str_("raise"), Posing("raise"), Text("normalize"))),
    *({"accuracy": x} for x in (Text("native"), np.str_("compensated"), Posing("native"))),
    *({"gauge": x} for x in ("normalized", Text("raw"), Posing("raw"))),
    {"accuracy": "native", "mass": "normalize"},
    *({"device": x} for x in ("cpu", "gpu", 0, ["cpu"])),
]


def hvp(p, q, space, **options):
    v = V[0] if getattr(p, "ndim", 1) < 2 else V[: len(p)]
    return emdref.emd_hvp(
        p, q, space, v.astype(np.float32) if getattr(p, "dtype", None) == np.float32 else v, **options
    )


VALUES = [emdref.emd, emdref.emd_grad, emdref.emd_value_and_grad]
FUNCTIONS = [*VALUES, emdref.flow, emdref.emd_cost_grad, hvp]


def takes(function, options):
    return not {"gauge"} & options.keys() or function in (emdref.emd_grad, emdref.emd_value_and_grad, hvp)


def described(result):
    if isinstance(result, tuple):
        return list(map(described, result))
    return type(result), result.dtype, result.shape, result.flags.writeable, result.tobytes()


def outcome(function, *args, **options):
    """All that can be told of a call."""
    with warnings.catch_warnings(record=True) as caught, emdref.fallback.counting() as count:
        warnings.simplefilter("always")
        try:
            result = described(function(*args, **options))
        except Exception as error:
            result = type(error), str(error)
    told = [(w.category, str(w.message), w.filename, w.lineno) for w in caught]
    return result, told, (count.rows, count.exact) if type(result) is list or result[0] not in (TypeError,) else None


def both_ways(monkeypatch, function, *args, **options):
    """The outcome, which is the same by the general way alone."""
    straight = outcome(function, *args, **options)
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "find", lambda *_: None)
        assert outcome(function, *args, **options) == straight
    return straight


@pytest.mark.parametrize("space", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_rows_of_all_kinds(monkeypatch, function, space):
    for p, q in (GOOD | VALUED | OTHER).values():
        for options in ({}, {"mass": "ignore", "rho": 2, "accuracy": "native"}):
            both_ways(monkeypatch, function, p, q, SPACES[space], **options)


@pytest.mark.parametrize("space", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_options_of_all_kinds(monkeypatch, function, space):
    for options in filter(lambda x: takes(function, x), TAKEN + NOT_TAKEN):
        for p, q in (GOOD["one pair"], GOOD["float32 rows"], VALUED["lists"]):
            both_ways(monkeypatch, function, p, q, SPACES[space], **options)


@pytest.mark.parametrize("space", SPACES)
def test_the_straight_way_is_taken(monkeypatch, space):
    def refuse(*_, **__):
        raise AssertionError("the general way")

    for place, name in ((escalation, "_by_kernel"), (batches, "Unseen"), (batches, "checked")):
        monkeypatch.setattr(place, name, refuse)
    for options in [{}, *TAKEN]:
        for p, q in GOOD.values():
            for function in VALUES if space == "circle" else FUNCTIONS:
                if takes(function, options) and (space != "circle" or options.get("rho") != 2.5):
                    described(function(p, q, SPACES[space], **options))
    for p, q in VALUED.values():
        for function in VALUES:
            function(p, q, SPACES[space])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_directions_and_one_bin(monkeypatch, dtype):
    p, q, chain = P[0].astype(dtype), Q[0].astype(dtype), SPACES["chain"]
    v = V[0].astype(dtype)
    for bad in (v, put(v, 2, np.nan), put(v, 0, -np.inf), v[1:], V, v.tolist(), None, v.astype(">f8"), v.astype("f2")):
        for accuracy in ("compensated", "native"):
            both_ways(monkeypatch, emdref.emd_hvp, p, q, chain, bad, accuracy=accuracy)
    for function in (*VALUES, emdref.flow, emdref.emd_cost_grad):
        one = np.ones(1, dtype)
        result, _, _ = both_ways(monkeypatch, function, one, one, emdref.Chain(1))
        assert type(result) is list or result[1] == dtype
        both_ways(monkeypatch, function, one, 2 * one, emdref.Chain(1))


@pytest.mark.parametrize("space", [np.ones((3, 3)), 3, None, emdref.Chain, object(), "chain", [1]])
def test_no_space(monkeypatch, space):
    for function in FUNCTIONS:
        error, text = both_ways(monkeypatch, function, P, Q, space)[0]
        assert error is TypeError and text.startswith("space must be a Space")


@pytest.mark.parametrize("function", VALUES)
def test_results_into_arrays_that_are_given(monkeypatch, function):
    value, grad, one = np.empty(4), np.empty((4, BINS)), np.empty(())
    for out in (value, grad, (value, grad), (None, grad), (value, value), grad[1:], np.empty(4, "f4"), [1], 3):
        both_ways(monkeypatch, function, P, Q, SPACES["chain"], out=out)
    for out in (np.empty(8)[::2], np.empty((BINS, 4)).T, read_only(value), value.view(Own), (None, None), value[0]):
        both_ways(monkeypatch, function, P, Q, SPACES["chain"], out=out)
    for out in (one, np.empty(BINS), np.empty(1), np.empty((1, BINS)), np.ma.array(one)):
        both_ways(monkeypatch, function, P[0], Q[0], SPACES["chain"], out=out)


def test_an_array_that_is_given_comes_back_filled():
    value, p = np.empty(4), P.copy()
    assert emdref.emd(p, Q, TREE, out=value) is value
    assert value.tolist() == emdref.emd(p, Q, TREE).tolist()
    grad = emdref.emd_grad(p, Q, TREE, 2)
    assert emdref.emd_grad(p, Q, TREE, 2, out=p) is p and p.tolist() == grad.tolist()


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_machine_code_is_called_at_once():
    """Past Numba's look at the types of arguments, which takes as long as the rest."""
    for space in SPACES.values():
        emdref.emd(*GOOD["one pair"], space)
        call, _ = prepared.find(space, np.dtype(float), 1, "raise", "compensated")._calls[0]
        assert type(call) is type(len)


def test_work_that_takes_long_is_dealt_out(monkeypatch):
    """Threads, and Ctrl-C between blocks of rows, are the general way's."""
    calls = []
    dealt = escalation.over_columns

    def over_columns(kernel, rows, *args, **options):
        calls.append(rows)
        dealt(kernel, rows, *args, **options)

    monkeypatch.setattr(escalation, "over_columns", over_columns)
    chain = emdref.Chain(1000)
    one = prepared.find(chain, np.dtype(float), 1, "raise", "native")
    for rows in (one.most, one.most + 1):
        x = np.ones((rows, 1000))
        emdref.emd(x, x, chain, accuracy="native")
    assert calls == [one.most + 1]
    assert 100_000 < one.most * 1000 < 1_000_000


def test_a_limit_of_threads_that_is_none(monkeypatch):
    emdref.emd(*GOOD["rows"], TREE)
    monkeypatch.setenv("EMDREF_NUM_THREADS", "some")
    for function in FUNCTIONS:
        with pytest.raises(ValueError, match=re.escape("EMDREF_NUM_THREADS='some' must be an integer")):
            function(P, Q, TREE)


# --- what is kept for a space -----------------------------------------------------------------------------------------


def kept(space):
    return prepared._kept._kept.get(id(space))


def test_kept_as_long_as_the_space_and_not_with_its_copies():
    chain = emdref.Chain(gaps=[1.0, 2.0, 3.0, 1.0, 1.0])
    fresh = emdref.Chain(gaps=[1.0, 2.0, 3.0, 1.0, 1.0])
    before = pickle.dumps(chain)
    value = emdref.emd(P[0], Q[0], chain)
    assert kept(chain) is not None and kept(fresh) is None
    assert pickle.dumps(chain) == before
    assert chain == fresh and hash(chain) == hash(fresh)
    for twin in (copy.copy(chain), copy.deepcopy(chain), pickle.loads(before)):
        assert kept(twin) is None or kept(twin)[0]() is not twin
        assert emdref.emd(P[0], Q[0], twin) == value
    number = id(chain)
    del chain
    gc.collect()
    assert number not in prepared._kept._kept


def test_somebody_who_goes_through_many_exponents():
    chain = emdref.Chain(BINS)
    for rho in np.linspace(1, 3, 500).tolist():
        emdref.emd(P[0], Q[0], chain, rho, accuracy="native")
    assert 1 <= len(kept(chain)[1]) <= 64
    for bad in (np.nan, -1.0, 0.5):
        before = len(kept(chain)[1])
        with pytest.raises(ValueError, match="rho"):
            emdref.emd(P[0], Q[0], chain, bad)
        assert len(kept(chain)[1]) <= before + 1


def test_what_only_equals_a_good_option_does_not_stand_for_it():
    chain, plain = emdref.Chain(BINS), np.dtype(float)
    for dtype, mass, gauge in (
        (np.dtype("f8", metadata={"a": 1}), "raise", "raw"),
        (plain, Posing("raise"), "raw"),
        (plain, "raise", Posing("raw")),
    ):
        assert prepared.find(chain, dtype, 1, mass, "native", gauge) is None
    assert prepared.find(chain, plain, 1, "raise", "native", "raw") is not None
    assert prepared.find(chain, plain, True, "raise", "native", "raw") is None


def test_many_threads_at_once():
    chain = emdref.Chain(BINS)
    options = [{"rho": rho, "accuracy": accuracy} for rho in (1, 2, 3) for accuracy in ("compensated", "native")] * 20
    alone = [described(emdref.emd_value_and_grad(P, Q, TREE, **x)) for x in options]

    def call(x):
        return described(emdref.emd_value_and_grad(P, Q, TREE, **x)), described(emdref.emd(P[0], Q[0], chain, **x))

    with ThreadPoolExecutor(8) as pool:
        assert [first for first, _ in pool.map(call, options)] == alone


class Pair(emdref.Space):
    """Two bins, with a loop of its own in plain Python."""

    n_bins = 2
    cost = 3.0

    @property
    def edges(self):
        return emdref.Edges(np.array([0]), np.array([1]), np.array([self.cost]))

    def kernel(self, rho, dtype, accuracy, shares):
        return None if shares else Kernel(self._loop, (dtype.type(self.cost),), 100)

    def _loop(self, first, last, rows, results, shape, how):
        p, p_step, q, q_step = rows
        assert not p.flags.writeable and not q.flags.writeable
        value, grad, doubt, unsafe = results
        for i in range(first, last):
            d = p[i * p_step] - q[i * q_step]
            value[i] = shape[0] * abs(d) ** how[0]
            if len(grad):
                grad[2 * i : 2 * i + 2] = np.array([0.5, -0.5]) * shape[0] * np.sign(d)
            doubt[i], unsafe[i] = d > 0.9, False


def test_a_space_with_a_loop_of_its_own(monkeypatch):
    pair = Pair()
    p, q = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    assert both_ways(monkeypatch, emdref.emd, p, q, pair)[0][-1] == np.float64(1.5).tobytes()
    both_ways(monkeypatch, emdref.emd_value_and_grad, p, q, pair)
    for accuracy in ("native", "compensated"):
        with monkeypatch.context() as patch:  # doubted: looked at again
            seen = []
            patch.setattr(batches.Unseen, "verify", lambda rows, seen=seen: seen.append(rows))
            emdref.emd(p, p[::-1].copy(), pair, accuracy=accuracy)
        assert len(seen) == 1
        both_ways(monkeypatch, emdref.emd, p, p[::-1].copy(), pair, accuracy=accuracy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dearer = copy.copy(pair)
        dearer.cost = 5.0
    assert emdref.emd(p, q, dearer) == 2.5 and emdref.emd(p, q, pair) == 1.5
    assert emdref.emd(p, q, pickle.loads(pickle.dumps(pair))) == 1.5
