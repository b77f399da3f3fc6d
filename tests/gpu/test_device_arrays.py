"""Arrays on a device, or in Numba's simulator of one: views, copies, broadcasts, results in the caller's kind.

What is computed does not matter here: the CPU does it, in the place of the kernels.
"""

import gc
import types
import warnings
import weakref

import numpy as np
import pytest
from device_fakes import CupyArray, Elsewhere, Tensor

import emdref
from array_kinds import Array
from emdref.arguments.devices import Place, find
from emdref.closed_form import escalation
from gpu_support import SIMULATED

pytestmark = pytest.mark.gpu
only_simulated = pytest.mark.skipif(not SIMULATED, reason="fakes lie in host memory, which only the simulator reads")

CHAIN = emdref.Chain(4)
rng = np.random.default_rng(7)


def rows(*shape, dtype=np.float64):
    x = rng.integers(1, 9, (*shape, 4)).astype(float)
    return (x / x.sum(-1, keepdims=True)).astype(dtype)


P, Q = rows(3, 2), rows(3, 2)


def to_device(x):
    """A Numba device array in C order."""
    from emdref.kernels.cuda.target import cuda

    return cuda.to_device(np.array(x, order="C"))


def to_host(x):
    return x if isinstance(x, (np.ndarray, np.generic)) else x.copy_to_host()


@pytest.fixture
def call():
    from emdref.gpu.call import Call

    with Call(find("cuda")) as call:
        yield call


@pytest.fixture
def on_the_cpu(monkeypatch):
    """Evaluation by the CPU in the place of the kernels, and what it saw."""
    from emdref.gpu import calls

    seen = types.SimpleNamespace()

    def value_and_grad(call, batch, space, rho, mass, accuracy, gauge, value_wanted):
        seen.batch, seen.call = batch, call
        host = batch.verify(mass)
        every = np.arange(batch.rows)
        for flat, step, x in ((batch.p, batch.p_step, host.p), (batch.q, batch.q_step, host.q)):
            assert np.array_equal(call.gather_rows(flat, step, batch.n_bins, every), x)
        value = grad = None
        if value_wanted:
            value = call.result(batch, "value")
            call.scatter_rows(value, every, escalation.values(host, space, rho, mass, accuracy))
        if gauge is not None:
            grad = call.result(batch, "gradient", space.n_bins)
            call.scatter_rows(grad, every, escalation.value_and_grad(host, space, rho, mass, accuracy, gauge)[1])
        return value, grad

    monkeypatch.setattr(calls, "closed_form", types.SimpleNamespace(value_and_grad=value_and_grad))
    return seen


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("shapes", [((), ()), ((3,), (3,)), ((3, 2), ()), ((3, 1), (2,)), ((0,), ())])
def test_what_comes_back(on_the_cpu, kind, dtype, shapes):
    p, q = (rows(*s, dtype=dtype) for s in shapes)
    given, options = ((p, q), {"device": "cuda"}) if kind == "numpy" else (map(to_device, (p, q)), {})
    results = emdref.emd_value_and_grad(*given, CHAIN, 2, **options)
    for x, right in zip(results, emdref.emd_value_and_grad(p, q, CHAIN, 2), strict=True):
        assert (type(x) is type(right)) if kind == "numpy" else type(x) is type(to_device(p))
        assert x.dtype == dtype
        assert tuple(x.shape) == right.shape
        assert np.array_equal(to_host(x), right)


LAYOUTS = {
    "reversed bins": lambda x: x[..., ::-1],
    "reversed rows": lambda x: x[::-1],
    "every other row": lambda x: x[::2],
    "every other bin": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "middle bins": lambda x: np.concatenate([x, x], -1)[..., 2:6] if x.shape[-1] == 4 else x,
    "turned": lambda x: x.swapaxes(0, 1),
    "columns first": lambda x: x.T.copy().T,
    "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "one for all": lambda x: np.broadcast_to(x[0, 0], x.shape),
    "more axes": lambda x: x[None],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("wrap", ["numpy", pytest.param("elsewhere", marks=only_simulated)])
def test_rows_however_they_lie(layout, wrap):
    from emdref.gpu.call import Call

    p = layout(P)
    given = p if wrap == "numpy" else Elsewhere(p)
    with Call(Place("numba" if wrap == "elsewhere" else "numpy"), p=given, q=given) as call:
        batch = call.batch(given, given, 4)
        assert batch.shape == p.shape[:-1]
        some = [batch.rows - 1, 0, 1]
        assert np.array_equal(call.gather_rows(batch.p, batch.p_step, 4, some), p.reshape(-1, 4)[some])
        assert all(np.array_equal(read(), p) for read in batch.readers.values())


@only_simulated
@pytest.mark.parametrize(
    ("layout", "step"), [("every other row", 16), ("reversed rows", None), ("one for all", 0), ("middle bins", 8)]
)
def test_regular_rows_are_read_where_they_lie(layout, step):
    from emdref.gpu.call import Call

    p = LAYOUTS[layout](P)
    p = p[:, 0] if layout == "every other row" else p
    there = Elsewhere(p)
    with Call(Place("numba"), p=there, q=there) as call:
        batch = call.batch(there, there, 4)
        in_place = batch.p.__array_interface__["data"][0] == p.__array_interface__["data"][0]
    assert in_place == (step is not None)
    assert batch.p_step == (4 if step is None else step)


def test_a_host_row_that_stands_for_all_is_moved_once(call):
    batch = call.batch(np.broadcast_to(P[0, 0], (1000, 4)), P[0, :1], 4)
    assert (batch.p.size, batch.p_step, batch.q_step, batch.rows) == (4, 0, 0, 1000)


# --- integers, dtypes, bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("device", [True, False])
def test_integers_count_as_float64(on_the_cpu, dtype, device):
    p, q = np.array([[1, 0, 2, 1], [4, 0, 0, 0]], dtype), np.array([0, 0, 0, 4], dtype)
    given, options = ((to_device(p), to_device(q)), {}) if device else ((p, q), {"device": "cuda"})
    assert np.array_equal(to_host(emdref.emd(*given, CHAIN, **options)), emdref.emd(p, q, CHAIN))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_float64_would_round(on_the_cpu, dtype):
    p = np.array([2**53 - 1, 0, 0, 0], dtype)
    assert to_host(emdref.emd(to_device(p), to_device(p), CHAIN)) == 0
    with pytest.raises(TypeError, match=r"p holds an integer of 2\*\*53 or more"):
        emdref.emd(to_device(p + dtype(1)), to_device(p), CHAIN)


NAMES = {"flow": "flow", "hess": "Hessian", "hvp": "product"}
BAD = [
    (P, P[..., :3]),
    (P, P.astype(np.float32)),
    (P, rows(4)),
    (P.astype(np.float16), P),
    (P.astype(complex), P),
    (P > 0, P),
    (P, -P),
    (P, P * np.nan),
    (P * 0, Q),
    (P, 2 * Q),
    (np.array(1.0), P),
]


@pytest.mark.parametrize(("p", "q"), BAD)
@pytest.mark.parametrize("device", [True, False])
def test_errors_are_those_of_the_cpu(on_the_cpu, p, q, device):
    with pytest.raises((TypeError, ValueError)) as on_cpu:
        emdref.emd_grad(p, q, CHAIN)
    given, options = ((to_device(p), to_device(q)), {}) if device else ((p, q), {"device": "cuda"})
    with pytest.raises(type(on_cpu.value)) as on_device:
        emdref.emd_grad(*given, CHAIN, **options)
    assert str(on_device.value) == str(on_cpu.value)


def test_native_totals_are_checked_as_on_the_cpu(call):
    p = np.array([[1e308, 1e308, 0, 0]])
    with pytest.raises(ValueError, match="row 0: the total of p is beyond float64"):
        call.batch(p, p, 4, native_totals=True).verify("ignore")
    assert call.batch(p, p, 4).verify("ignore").shape == (1,)


@pytest.mark.parametrize("space", [None, np.eye(4)])
def test_no_space(on_the_cpu, space):
    with pytest.raises(TypeError, match="space must be a Space, such as a Chain or a Tree"):
        emdref.emd(P, Q, space, device="cuda")


def test_sparse_rows_are_refused(on_the_cpu):
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"q is sparse, .* give q\.toarray\(\), or leave device=None"):
        emdref.emd(P[0], scipy.csr_array(Q[0]), CHAIN, device="cuda")


@pytest.mark.parametrize(("special", "words"), [(np.inf, "inf"), (np.nan, "inf or NaN")])
@pytest.mark.parametrize(("device", "name"), [(False, "flow"), (True, "flow"), (True, "hess"), (True, "hvp")])
def test_one_warning_for_what_is_beyond_the_dtype(monkeypatch, device, name, special, words):
    from emdref.gpu import calls

    def compute(call, batch, *options):
        result = call.result(batch, name, 3)
        call.scatter_rows(result, range(6), np.where(np.arange(18).reshape(6, 3) < 10, 1.0, special))
        return result

    monkeypatch.setattr(calls, "closed_form", types.SimpleNamespace(**dict.fromkeys(["flow", "hess", "hvp"], compute)))
    p, q, options = (to_device(P), to_device(Q), {}) if device else (P, Q, {"device": "cuda"})
    call = {"flow": emdref.flow, "hess": emdref.emd_hess, "hvp": lambda p, q, space: emdref.emd_hvp(p, q, space, p)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call[name](p, q, CHAIN, **options)
    (warning,) = caught
    assert warning.filename == __file__
    assert f"8 entries of the {NAMES[name]} are beyond the range of float64 and are {words}," in str(warning.message)
    assert str(warning.message).endswith("the first in row (1, 1); scale the costs or the masses down")


def test_other_libraries_arrays_are_moved_there_and_back(on_the_cpu):
    expected, out = emdref.emd_grad(P, Q, CHAIN), Array(np.empty_like(P))
    value, gradient = emdref.emd_value_and_grad(Array(P), Array(Q), CHAIN, device="cuda", out=(None, out))
    assert type(value) is Array
    assert gradient is out
    assert np.array_equal(out.array, expected)
    with pytest.raises(TypeError, match=r"^p is an array of library and q of numpy"):
        emdref.emd(Array(P), Q, CHAIN, device="cuda")


def test_results_known_to_be_finite_are_not_looked_at(on_the_cpu, monkeypatch):
    from emdref.gpu.call import Call
    from emdref.gpu.results import Result

    looked = []
    monkeypatch.setattr(Call, "beyond", lambda call, result: looked.append(result.size) or (0, 0, 0))
    emdref.emd(P, Q, CHAIN, device="cuda")
    assert looked == [6]
    monkeypatch.setattr(Result, "may_be_beyond", property(lambda x: False, lambda x, value: None), raising=False)
    emdref.emd(P, Q, CHAIN, device="cuda")
    assert looked == [6]


def test_counts_of_what_is_not_finite(call):
    batch = call.batch(P[0, 0], P[:, 0], 4)
    result = call.result(batch, "gradient", 4)
    call.scatter_rows(result, [2, 0, 1], [[0, np.nan, np.inf, 1], [1, 2, 3, 4], [-np.inf, 0, 1, 2]])
    assert call.beyond(result) == (3, 1, 1)


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_results_go_into_the_callers_arrays(on_the_cpu, kind):
    move = to_device if kind == "numba" else np.array
    outs = move(np.zeros((3, 2))), move(np.zeros((3, 2, 8)))[..., ::2]
    p, options = move(P), {} if kind == "numba" else {"device": "cuda"}
    results = emdref.emd_value_and_grad(p, move(Q), CHAIN, out=outs, **options)
    assert all(x is y for x, y in zip(results, outs, strict=True))
    right = emdref.emd_value_and_grad(P, Q, CHAIN)
    assert all(np.array_equal(to_host(x)[...], y) for x, y in zip(results, right, strict=True))
    assert emdref.emd_grad(p, move(Q), CHAIN, out=p, **options) is p
    assert np.array_equal(to_host(p), right[1])


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 2)), TypeError, "out must be a device array on the inputs' GPU, not numpy.ndarray"),
        (None, TypeError, "out has dtype float32, the result float64: results are not cast"),
        (None, ValueError, r"out has shape \(2, 3\), the result \(3, 2\)"),
    ],
)
def test_arrays_that_no_result_goes_into(on_the_cpu, out, error, message):
    if out is None:
        out = to_device(np.zeros((3, 2), np.float32) if error is TypeError else np.zeros((2, 3)))
    with pytest.raises(error, match=message):
        emdref.emd(to_device(P), to_device(Q), CHAIN, out=out)


@only_simulated
def test_a_result_on_another_gpu(on_the_cpu, frameworks):
    out = CupyArray(np.zeros((3, 2)), 0)
    with pytest.raises(ValueError, match="out must be a CuPy array on the inputs' GPU 1, and lies on GPU 0"):
        emdref.emd(CupyArray(P, 1), CupyArray(Q, 1), CHAIN, out=out)


def test_two_results_in_one_place(on_the_cpu):
    both = to_device(np.zeros(16))
    one = both[:4].reshape(1, 4), both[3:4]
    with pytest.raises(ValueError, match=r"out\[0\] and out\[1\] share memory"):
        emdref.emd_value_and_grad(to_device(P[0, :1]), to_device(Q[0, :1]), CHAIN, out=one[::-1])


# --- memory -----------------------------------------------------------------------------------------------------------


def test_constants_are_moved_once_and_live_as_long_as_the_space(call):
    space, made = emdref.Tree([-1, 0, 0]), []

    def make():
        made.append(1)
        return space.rooted.parent, space.rooted.cost

    first = call.constant(space, "layout", make)
    assert call.constant(space, "layout", make) is first
    assert call.constant(emdref.Tree([-1, 0, 0]), "layout", make) is not first
    assert [x.copy_to_host().tolist() for x in first] == [[0, 0, 0], [0.0, 1.0, 1.0]]
    assert len(made) == 2
    alone = call.constant(space, "cost", lambda: space.rooted.cost)
    assert alone.copy_to_host().tolist() == [0.0, 1.0, 1.0]
    gone = weakref.ref(space), weakref.ref(alone)
    space = alone = first = None
    gc.collect()
    assert [x() for x in gone] == [None, None]


def test_scratch_memory(call):
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.bool_, np.uint8):
        array = call.full(5, 1, dtype)
        assert array.dtype == dtype
        assert call.to_host(array).tolist() == [1] * 5
    assert call.to_host(call.to_device(P)).tolist() == P.reshape(-1).tolist()
    assert call.to_host(call.empty(0, np.float64)).size == 0


def test_a_device_without_enough_memory(call, monkeypatch):
    class OutOfMemoryError(RuntimeError):
        pass

    def fail(shape, dtype):
        raise OutOfMemoryError("Tried to allocate 3.00 GiB")

    monkeypatch.setattr(call._framework, "empty", fail)
    with pytest.raises(
        RuntimeError, match=r"GPU 0 is out of memory: the gradient needs 3\.0 GiB, and .* free; give fewer rows"
    ):
        call.new((3, 2**30), np.uint8, "the gradient")


def test_other_errors_of_an_allocator_are_left_alone(call, monkeypatch):
    monkeypatch.setattr(call._framework, "empty", lambda shape, dtype: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call.empty(3, np.float64)


# --- frameworks -------------------------------------------------------------------------------------------------------


class FakeStream:
    """Counts how often it was waited for."""

    def __init__(self, pointer):
        self.pointer, self.waited = pointer, 0

    def __int__(self):
        return self.pointer

    def synchronize(self):
        self.waited += 1


@pytest.fixture
def streams(monkeypatch):
    """The external streams that were made, by pointer."""
    from emdref.kernels.cuda.target import cuda

    made = {}
    monkeypatch.setattr(cuda, "external_stream", lambda pointer: made.setdefault(pointer, FakeStream(pointer)))
    return made


@pytest.fixture
def frameworks(monkeypatch):
    """Modules named torch and cupy that have what is used of them, and the current stream."""
    state = types.SimpleNamespace(stream=0, devices=[])
    torch = types.ModuleType("torch")
    torch.device = lambda kind, index: (kind, index)
    torch.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=state.stream))
    torch.float32, torch.float64, torch.uint8 = np.float32, np.float64, np.uint8
    torch.empty = lambda shape, dtype, device: Tensor(np.empty(shape, dtype), gpu=device[1])
    cupy = types.ModuleType("cupy")
    current = types.SimpleNamespace(ptr=0)
    cupy.cuda = types.SimpleNamespace(get_current_stream=lambda: current, Device=_Entered)
    cupy.empty = lambda shape, dtype: CupyArray(np.empty(shape, dtype), _Entered.number)
    for module in (torch, cupy):
        monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    return state


class _Entered:
    number = None

    def __init__(self, number):
        self._number = number

    def __enter__(self):
        _Entered.number = self._number

    def __exit__(self, *error):
        _Entered.number = None


MAKERS = {"torch": lambda x: Tensor(x, gpu=1), "cupy": lambda x: CupyArray(x, 1), "numba": Elsewhere}


@only_simulated
@pytest.mark.parametrize("name", ["torch", "cupy"])
def test_a_frameworks_allocator_and_kind(on_the_cpu, frameworks, name):
    make = MAKERS[name]
    results = emdref.emd_value_and_grad(make(P), make(Q), CHAIN, 2)
    for x, right in zip(results, emdref.emd_value_and_grad(P, Q, CHAIN, 2), strict=True):
        assert type(x) is type(make(P))
        assert (x.device.index if name == "torch" else x.device.id) == 1
        assert np.array_equal(x.array, right)
    single = emdref.emd(make(P[0, 0]), make(Q[0, 0]), CHAIN)
    assert single.array.shape == ()
    out = make(np.zeros((3, 2)))
    assert emdref.emd(make(P), make(Q), CHAIN, out=out) is out
    assert np.array_equal(out.array, emdref.emd(P, Q, CHAIN))


@only_simulated
def test_torchs_current_stream(frameworks, streams):
    from emdref.gpu.call import Call

    frameworks.stream = 77
    with Call(Place("torch", 1), p=Tensor(P, gpu=1)) as call:
        assert int(call.stream) == 77
    assert streams[77].waited == 0


@only_simulated
def test_the_streams_that_arrays_come_with(streams):
    from emdref.gpu.call import Call

    with Call(Place("numba"), p=Elsewhere(P, stream=5), q=Elsewhere(Q, stream=6), v=Elsewhere(Q)) as call:
        assert int(call.stream) == 5
    assert {k: x.waited for k, x in streams.items()} == {5: 0, 6: 1}
    with Call(Place("numba"), p=Elsewhere(P), q=Elsewhere(Q, stream=6)) as call:
        assert int(call.stream) == 6


@only_simulated
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": 1}, "p has masked entries"),
        ({"strides": (20, 9)}, r"p has strides \(20, 9\), no multiples of its 8 bytes"),
        ({"typestr": ">f8"}, "p has dtype >f8 of foreign byte order"),
        ({"typestr": "<V8"}, "p has dtype .*V8: give float32 or float64"),
        (None, "p has NoneType as its __cuda_array_interface__"),
    ],
)
def test_interfaces_that_describe_no_histograms(on_the_cpu, change, message):
    class Given:
        __cuda_array_interface__ = change and {**Elsewhere(P[0]).__cuda_array_interface__, **change}

    with pytest.raises((TypeError, ValueError), match=message):
        emdref.emd(Given(), Elsewhere(Q[0]), CHAIN)


# --- the frameworks themselves ----------------------------------------------------------------------------------------


@pytest.mark.gpu(hardware="CuPy's memory")
def test_cupy_itself(on_the_cpu):
    cupy = pytest.importorskip("cupy")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        p, q = cupy.asarray(P)[:, ::-1], cupy.asfortranarray(cupy.asarray(Q))
        value, grad = emdref.emd_value_and_grad(p, q, CHAIN, 2)
        assert int(on_the_cpu.call.stream) == stream.ptr
        assert isinstance(grad, cupy.ndarray)
        right = emdref.emd_value_and_grad(P[:, ::-1], Q, CHAIN, 2)
        assert np.array_equal(value.get(), right[0])
        assert np.array_equal(grad.get(), right[1])


@pytest.mark.gpu(hardware="CuPy's memory")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_rows_of_cupy_however_they_lie(layout):
    from emdref.gpu.call import Call

    cupy = pytest.importorskip("cupy")
    there = layout(cupy.asarray(P))
    p = there.get()
    with Call(find(None, p=there), p=there, q=there) as call:
        batch = call.batch(there, there, 4)
        some = [batch.rows - 1, 0, 1]
        assert np.array_equal(call.gather_rows(batch.p, batch.p_step, 4, some), p.reshape(-1, 4)[some])
        assert all(np.array_equal(read(), p) for read in batch.readers.values())


@pytest.mark.gpu(hardware="the driver's own refusal")
@pytest.mark.parametrize("name", ["numba", "cupy", "torch"])
def test_a_petabyte(name):
    from emdref.gpu.call import Call

    module = None if name == "numba" else pytest.importorskip(name)
    if name == "torch" and not module.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    with (
        Call(Place(name, 0)) as call,
        pytest.raises(RuntimeError, match=r"GPU 0 is out of memory: the flow needs 1048576\.0 GiB, and .* are free"),
    ):
        call.new((2**50,), np.uint8, "the flow")


@pytest.mark.gpu(hardware="threads in one context")
def test_threads(on_the_cpu):
    from concurrent.futures import ThreadPoolExecutor

    many = [(rows(50), rows(50)) for _ in range(16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: emdref.emd(*pair, CHAIN, 2, device="cuda"), many))
    for x, pair in zip(found, many, strict=True):
        assert np.array_equal(x, emdref.emd(*pair, CHAIN, 2))


@pytest.mark.gpu(hardware="torch's memory")
def test_torch_itself(on_the_cpu):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    with torch.cuda.stream(torch.cuda.Stream()):
        p, q = torch.from_numpy(P).cuda(), torch.from_numpy(Q).cuda().transpose(0, 1).contiguous().transpose(0, 1)
        value, grad = emdref.emd_value_and_grad(p, q, CHAIN, 2)
        assert int(on_the_cpu.call.stream) == torch.cuda.current_stream().cuda_stream
        right = emdref.emd_value_and_grad(P, Q, CHAIN, 2)
        assert value.is_cuda
        assert np.array_equal(value.cpu().numpy(), right[0])
        assert np.array_equal(grad.cpu().numpy(), right[1])
        with pytest.raises(RuntimeError, match=r"p requires grad.*p\.detach"):
            emdref.emd(p.requires_grad_(), q, CHAIN)
