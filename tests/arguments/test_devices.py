"""Where calls compute, and what happens to arrays on the way to a GPU and back.

The dispatch is tested with objects that say they belong to a framework; copies, views and results on a device or in
Numba's simulator.
"""

import sys
import types

import numpy as np
import pytest
import scipy.sparse
from device_fakes import Elsewhere, Tensor, cupy_array

import emdref
from emdref.arguments import devices
from emdref.arguments.devices import Place

CHAIN = emdref.Chain(3)
GOOD = np.array([0.25, 0.25, 0.5])
ON_HOST = [GOOD, [0.5, 0.5], (1, 2), 3, 2.5, np.float32(1), Tensor(GOOD), scipy.sparse.eye(3), range(3), None]


@pytest.fixture
def usable(monkeypatch):
    """A GPU, as far as the dispatch can tell."""
    _replace_target(monkeypatch, lambda: "")


def _replace_target(monkeypatch, trouble):
    target = types.ModuleType("emdref.kernels.cuda.target")
    target.trouble = trouble
    monkeypatch.setitem(sys.modules, target.__name__, target)


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", ON_HOST, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_what_is_on_the_host_stays_there(x, device):
    assert devices.find(device, p=x, q=GOOD) is None
    assert devices.framework(x, "p") is None


def test_cuda_moves_what_is_on_the_host(usable):
    assert devices.find("cuda", p=GOOD, q=Tensor(GOOD), v=None) == Place("numpy", None)


@pytest.mark.parametrize("device", [None, "cuda"])
@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: Tensor(GOOD, gpu=1), Place("torch", 1)),
        (lambda: type("Parameter", (Tensor,), {"__module__": "mine"})(GOOD, gpu=0), Place("torch", 0)),
        (lambda: cupy_array(GOOD, 2), Place("cupy", 2)),
        (lambda: Elsewhere(GOOD), Place("numba", None)),
    ],
)
def test_arrays_on_a_gpu_are_followed(usable, device, make, place):
    assert devices.find(device, p=make(), q=make(), v=None) == place


@pytest.mark.parametrize(
    ("device", "given", "message"),
    [
        ("tpu", {}, "device='tpu' is not one of None, 'cpu', 'cuda'"),
        ("cuda:0", {}, "device='cuda:0' is not one of None, 'cpu', 'cuda'"),
        (0, {}, "device=0 is not one of"),
    ],
)
def test_unknown_devices(device, given, message):
    with pytest.raises(ValueError, match=message):
        devices.find(device, p=GOOD, **given)


@pytest.mark.parametrize(
    ("device", "p", "q", "message"),
    [
        ("cpu", cupy_array(GOOD), cupy_array(GOOD), r"device='cpu', but p is a CuPy array on a GPU.*p\.get\(\)"),
        ("cpu", GOOD, Tensor(GOOD, gpu=0), r"device='cpu', but q is a torch tensor on a GPU.*q\.cpu\(\)"),
        (None, cupy_array(GOOD), GOOD, r"p is a CuPy array on a GPU and q is on the host: give cupy\.asarray\(q\)"),
        ("cuda", [0.5], Tensor(GOOD, gpu=0), r"q is a torch.* and p is on the host.*as_tensor\(p, device=q\.device\)"),
        (None, Elsewhere(GOOD), GOOD, r"p is a device array.*q is on the host.*to_device\(q\)"),
        (None, cupy_array(GOOD), scipy.sparse.eye(3), r"q is on the host: give cupy\.asarray\(q\.toarray\(\)\)"),
        (None, Tensor(GOOD, gpu=0), Tensor(GOOD), "p is a torch tensor on a GPU and q is on the host"),
        (None, Tensor(GOOD, gpu=0), cupy_array(GOOD), "p is a torch tensor.*q is a CuPy array: give both as one kind"),
        (None, Tensor(GOOD, gpu=0), Tensor(GOOD, gpu=1), "p lies on GPU 0 and q on GPU 1"),
        (None, cupy_array(GOOD, 3), cupy_array(GOOD, 2), "p lies on GPU 3 and q on GPU 2"),
        (None, Tensor(GOOD, gpu=0, grad=True), GOOD, r"p requires grad.*p\.detach\(\)"),
        (None, GOOD, Tensor(GOOD, grad=True), r"q requires grad.*q\.detach\(\)"),
    ],
)
def test_arrays_that_do_not_go_together(usable, device, p, q, message):
    with pytest.raises(RuntimeError, match=message):
        devices.find(device, p=p, q=q)


def test_an_array_that_does_not_describe_itself():
    class Broken:
        @property
        def __cuda_array_interface__(self):
            raise TypeError("no strides here")

    with pytest.raises(TypeError, match=r"p \(.*Broken\) .*no strides here"):
        devices.find(None, p=Broken(), q=GOOD)


# --- no GPU -----------------------------------------------------------------------------------------------------------


def hvp(p, q, space, **options):
    return emdref.emd_hvp(p, q, space, q, **options)


CALLS = [emdref.emd, emdref.emd_grad, emdref.emd_value_and_grad, emdref.emd_hess, hvp, emdref.flow]
CALLS += [emdref.emd_cost_grad]
each_call = pytest.mark.parametrize("call", CALLS, ids=lambda f: f.__name__)


@each_call
def test_no_gpu(monkeypatch, call):
    _replace_target(monkeypatch, lambda: "no GPU was found: leave device=None")
    with pytest.raises(RuntimeError, match=r"^device='cuda': no GPU was found: leave device=None$"):
        call(GOOD, GOOD, CHAIN, device="cuda")
    for there in (Elsewhere(GOOD), cupy_array(GOOD), Tensor(GOOD, gpu=0)):
        with pytest.raises(RuntimeError, match=r"p is a.*on a GPU.*no GPU was found"):
            call(there, there, CHAIN)


@each_call
def test_no_cuda_target(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "emdref.kernels.cuda.target", None)
    with pytest.raises(RuntimeError, match=r'device=\'cuda\': .*cannot be imported.*pip install "emdref\[cuda\]"'):
        call(GOOD, GOOD, CHAIN, device="cuda")


def test_functions_of_the_cpu_refuse_arrays_on_a_gpu():
    there = cupy_array(GOOD)
    for call in (
        lambda: emdref.losses.mse(there, GOOD),
        lambda: emdref.losses.emd_mse(there, there, CHAIN),
        lambda: emdref.pairwise(GOOD[None], CHAIN, Y=there),
        lambda: emdref.normalize.l1(there),
        lambda: emdref.certify(GOOD, there, CHAIN),
        lambda: emdref.plan(there, GOOD, CHAIN),
        lambda: emdref.exact.emd(there, GOOD, CHAIN),
    ):
        with pytest.raises(RuntimeError, match=r"[pqxY] is a CuPy array on a GPU .*the CPU alone: give .\.get\(\)"):
            call()
    with pytest.raises(RuntimeError, match=r"device='cuda': .*the CPU alone; leave device=None"):
        emdref.losses.emd_mse(GOOD, GOOD, CHAIN, device="cuda")
