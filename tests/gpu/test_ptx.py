"""Every CUDA kernel, for float32 and float64, compiled to PTX for sm_75 and sm_90 without a device, and searched."""

import math

import numba
import pytest

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
from numba import float32, float64

import kernel_table
import ptx
from emdref.kernels.arithmetic import edges, floats, lanes
from kernel_table import KERNELS

if ptx.missing():
    pytest.skip(ptx.missing(), allow_module_level=True)

CASES = [(name, dtype) for name, entry in KERNELS.items() for dtype in entry.dtypes]
needs_assembler = pytest.mark.skipif(bool(ptx.no_assembler()), reason=ptx.no_assembler() or "-")
each_kernel = pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
each_exact_kernel = pytest.mark.parametrize(("name", "dtype"), [x for x in CASES if KERNELS[x[0]].exact], ids=str)
each_processor = pytest.mark.parametrize("cc", ptx.CAPABILITIES, ids=ptx.architecture)


def code(name, dtype, cc):
    codes = ptx.compiled(kernel_table.kernels()[kernel_table.kernel_of(name)], KERNELS[name].types(dtype))
    newest = codes[ptx.CAPABILITIES[-1]]
    if KERNELS[name].exact:
        newest.begin(newest.inlined, fma=False)  # asked for below
    return codes[cc]


# --- every kernel -----------------------------------------------------------------------------------------------------


def test_every_kernel_is_in_the_table():
    found, known = set(kernel_table.kernels()), set(map(kernel_table.kernel_of, KERNELS))
    assert found - known == set(), "kernels without a row in kernel_table.KERNELS"
    assert known - found == set(), "rows without a kernel in kernel_table.KERNELS"


def test_no_kernel_hides():
    """All that exist have a name in their module, and all that are written exist."""
    named = kernel_table.kernels().values()
    assert {x.py_func.__qualname__ for x in kernel_table.compiled_kernels() if x not in named} == set()
    lines = {(x.py_func.__module__, x.py_func.__code__.co_firstlineno) for x in named}
    for name in set(kernel_table.modules()) - {"target"}:
        source = (kernel_table.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        written = kernel_table.kernel_lines(source)
        assert {written[x] for x in written if (f"{kernel_table.PACKAGE}.{name}", x) not in lines} == set()


@each_processor
@each_kernel
def test_nothing_is_flushed_or_approximated(name, dtype, cc):
    found = code(name, dtype, cc)
    assert f".target {ptx.architecture(cc)}" in found.whole and ".visible .entry" in found.whole
    assert not ptx.approximations(found.own)
    if not found.libdevice - ptx.PLAIN:
        assert found.own is found.whole


@each_exact_kernel
def test_nothing_is_contracted_where_bits_count(name, dtype):
    assert not ptx.contractions(code(name, dtype, ptx.CAPABILITIES[-1]))


@each_processor
@each_exact_kernel
def test_no_assembler_may_contract_where_bits_count(name, dtype, cc):
    assert not ptx.open_products(code(name, dtype, cc).own)


@needs_assembler
@pytest.mark.parametrize("name", [x for x, entry in KERNELS.items() if float64 in entry.dtypes])
def test_threads_have_registers_enough(name):
    """And no arrays of their own, which would lie in the device's memory."""
    newest = ptx.CAPABILITIES[-1]
    text = code(name, float64, newest).whole
    assert ptx.local_bytes(text) <= KERNELS[name].local
    assert ptx.assembled(text, newest).spilled == 0


@each_processor
@pytest.mark.parametrize("name", [x for x, e in KERNELS.items() if not e.double and float32 in e.dtypes])
def test_float32_kernels_hold_no_float64_arithmetic(name, cc):
    assert not ptx.double_arithmetic(code(name, float32, cc).own)


# --- the search itself ------------------------------------------------------------------------------------------------


def found(function, *types):
    """Code for the newer processor."""
    return ptx.compiled(function, types)[9, 0]


def one_sum(x, a):
    x[0] += x[1] * a


def two_products(x, a):
    x[0] = x[1] * a - x[2] * x[3]


def negated(x, a):
    x[0] = x[1] - x[2] * a if x[3] > a else x[3] - (-(x[1] * x[2]))


def scaled_sum(x, a):
    x[0] = x[1] + (a + a) * x[2] if a > x[3] else x[1]


@pytest.mark.parametrize("real", [float32, float64], ids=str)
@pytest.mark.parametrize("function", [one_sum, two_products, negated, scaled_sum])
def test_contraction_is_found(function, real):
    assert ptx.contractions(found(function, real[::1], real))


def test_what_the_assembler_may_contract_is_found():
    """NVVM leaves a difference of two products alone; the assembler makes a product and an fma of it."""
    text = found(two_products, float64[::1], float64).own
    assert not ptx.fused(text)
    assert len(ptx.open_products(text)) == 1


@needs_assembler
@pytest.mark.parametrize("cc", ptx.CAPABILITIES, ids=ptx.architecture)
def test_contraction_by_the_assembler_is_found(cc):
    codes = [ptx.compiled(f, (float64[::1], float64))[cc] for f in (two_products, apart, powers)]
    assert [ptx.contracted_by_assembler(x.own, cc) for x in codes] == [True, False, False]


def apart(x, a):
    x[0] = lanes.product(x[1], a) - lanes.product(x[2], x[3])
    x[1] = x[2] * a * x[3]
    x[2] = x[3] + x[0] * x.dtype.type(0.25)


@pytest.mark.parametrize("real", [float32, float64], ids=str)
def test_what_stays_apart_is_no_contraction(real):
    text = found(apart, real[::1], real)
    assert not ptx.contractions(text)
    assert sum("mul" in name for name, _ in ptx.instructions(text.own)) >= 4


@pytest.mark.parametrize(
    "promoting", [lambda x: 0.1 * x[0], lambda x: x[0] / x.size, lambda x: max(x[0], 0) - x[1], lambda x: x[0] + 0.1]
)
def test_float64_arithmetic_is_found(promoting):
    def kernel(x):
        x[0] = promoting(x)

    promoting = numba.njit(promoting)
    assert ptx.double_arithmetic(found(kernel, float32[::1]).own)


def staying(x, a):
    x[0] = abs(x[1]) + a * x[2] - x[3] / a


def test_float32_arithmetic_is_no_float64():
    text = found(staying, float32[::1], float32).own
    assert not ptx.double_arithmetic(text)
    assert "div.rn.f32" in text


def powers(x, a):
    x[0] = math.exp(x[1]) + math.pow(x[2], a)


def test_approximations_are_found():
    from numba import cuda

    def fast(x):
        x[0] = cuda.libdevice.fast_expf(x[1])

    text = found(fast, float32[::1])
    assert ptx.approximations(text.whole)


@pytest.mark.parametrize("real", [float32, float64], ids=str)
def test_libdevice_is_left_out_of_the_search(real):
    """Its exp and pow approximate and contract inside; what is written around them is seen all the same."""
    text = found(powers, real[::1], real)
    assert ptx.approximations(text.whole) and not ptx.approximations(text.own)
    assert any(ptx.fused(text.whole).values()) and not ptx.contractions(text)
    assert {x.rstrip("f") for x in text.libdevice} == {"exp", "pow"}


def test_thread_local_arrays_are_found():
    from numba import cuda

    def local(x, k):
        y = cuda.local.array(32, float64)
        for i in range(32):
            y[i] = x[i]
        x[0] = y[k]

    assert ptx.local_bytes(found(local, float64[::1], numba.int64).whole) == 256


def test_written_kernels_are_found():
    source = "@kernel\ndef a(x):\n    pass\n\ndef make():\n    @other\n    @kernel\n    def b(x):\n        pass\n"
    assert kernel_table.kernel_lines(source) == {1: "a", 6: "b"}
    with pytest.raises(AssertionError, match="line 10"):
        kernel_table.kernel_lines(source + "c = kernel(a)\n")


# --- formulas ---------------------------------------------------------------------------------------------------------


FORMULAS = {
    "two_sum": lambda x: floats.two_sum(x[0], x[1]),
    "quick_two_sum": lambda x: floats.quick_two_sum(x[0], x[1]),
    "two_prod": lambda x: floats.two_prod(x[0], x[1]),
    "times2": lambda x: floats.times2(x[0], x[1], x[2], x[3]),
    "add2": lambda x: floats.add2(x[0], x[1], x[2], x[3]),
    "mul2": lambda x: floats.mul2(x[0], x[1], x[2], x[3]),
    "div2": lambda x: floats.div2(x[0], x[1], x[2], x[3]),
    "edge2": lambda x: edges.edge2(x[0], x[1], x[2], x[3]),
    "power2": lambda x: edges.power2(x[0], x[1], x[3]),
    "bend2": lambda x: edges.bend2(x[0], x[1], x[3]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_two_limbs_are_contracted_nowhere(name):
    formula = numba.njit(FORMULAS[name])

    def kernel(x, out):
        y = formula(x)
        for i in range(len(y)):
            out[i] = y[i]

    for cc, code in ptx.compiled(kernel, (float64[::1], float64[::1])).items():
        assert not ptx.contractions(code)
        assert ptx.no_assembler() or not ptx.contracted_by_assembler(code.own, cc)


PRIMITIVES = {  # what the instructions between load and store are, in any order
    "product": (lambda x: lanes.product(x[0], x[1]), ["mul.rn"]),
    "product in a sum": (lambda x: lanes.product(x[0], x[1]) + x[2], ["add", "mul.rn"]),
    "product_error": (lambda x: lanes.product_error(x[0], x[1], x[2]), ["fma.rn", "neg"]),
    "lesser": (lambda x: lanes.lesser(x[0], x[1]), ["selp", "setp.lt"]),
    "greater": (lambda x: lanes.greater(x[0], x[1]), ["selp", "setp.gt"]),
    "if_positive": (lambda x: lanes.if_positive(x[0], x[1]), ["selp", "setp.gt"]),
    "sgn": (lambda x: lanes.sgn(x[0]), ["selp", "selp", "setp.eq", "setp.lt"]),
}


@pytest.mark.parametrize("real", [float32, float64], ids=str)
@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives_are_the_instructions_that_they_mean(name, real):
    formula, meant = numba.njit(PRIMITIVES[name][0]), PRIMITIVES[name][1]

    def kernel(x, out):
        out[0] = formula(x)

    suffix = f".f{real.bitwidth}"
    names = [x for x, _ in ptx.instructions(found(kernel, real[::1], real[::1]).own)]
    got = sorted(x for x in names if suffix in x and not x.startswith(("ld.", "st.", "mov.")))
    assert got == [x + suffix for x in meant]
