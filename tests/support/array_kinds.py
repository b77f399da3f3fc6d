"""Every public function of a batch called with arrays of one kind, and a small library whose arrays speak DLPack."""

import types

import numpy as np

import emdref
from emdref import losses, normalize

NUMBERS = "value", "objective", "grad", "log_u", "log_v", "marginal_error"


def sinkhorn(p, q, space, **options):
    """What comes back in the inputs' kind."""
    r = emdref.sinkhorn(p, q, space, 3.0, max_iter=7, checkpoints=(2,), unrolled=True, **options)
    assert all(isinstance(x, (np.ndarray, np.generic)) for x in (r.n_iter, r.converged, r.failed_at, r.failed_bin))
    both = r.grad_unrolled.value, r.grad_unrolled.objective
    return *(getattr(at, name) for at in (r, r.checkpoints[2]) for name in NUMBERS), *both


BATCH = {
    "emd": emdref.emd,
    "emd_grad": emdref.emd_grad,
    "emd_value_and_grad": emdref.emd_value_and_grad,
    "flow": emdref.flow,
    "emd_cost_grad": emdref.emd_cost_grad,
    "emd_hess": emdref.emd_hess,
    "emd_hvp": lambda p, q, space: emdref.emd_hvp(p, q, space, p),
    "pairwise": lambda p, q, space: (emdref.pairwise(p, space), emdref.pairwise(p, space, Y=q)),
    "barycenter": lambda p, q, space: (emdref.barycenter(p, space), emdref.barycenter(q, space, 2)),
    "sinkhorn": sinkhorn,
    "sinkhorn from init": lambda p, q, space: sinkhorn(p, q, space, init=(p, q)),
    "sinkhorn in float32": lambda p, q, space: emdref.sinkhorn(p, q, space, 3.0, max_iter=3, dtype=np.float32).grad,
    "mse": lambda p, q, space: losses.mse(p, q),
    "kl": lambda p, q, space: losses.kl(p, q),
    "cross_entropy": lambda p, q, space: losses.cross_entropy(p, q),
    "emd_mse": losses.emd_mse,
    "layers": lambda p, q, space: (normalize.l1(p), normalize.softmax(p), normalize.square(p)),
    "vjp": lambda p, q, space: normalize.softmax.vjp(p, q),
}
PAIR = {  # of these come numbers, rationals, proofs and SciPy's matrices whatever was given
    "plan": lambda p, q, space: emdref.plan(p, q, space).toarray().tolist(),
    "certify": lambda p, q, space: (emdref.certify(p, q, space).lower, emdref.certify(p, q, space).verify()),
    "certify_sinkhorn": lambda p, q, space: (*(c := emdref.certify_sinkhorn(p, q, space, 3.0)), c.verify()),
    "exact": lambda p, q, space: (emdref.exact.emd(p, q, space), emdref.exact.hvp(p, q, space, p)),
}


def batch(dtype):
    """Three pairs on a space of 5 bins, whose last rows are pairs as well."""
    return tuple(np.random.default_rng(k).multinomial(59, np.full(5, 0.2), 3).astype(dtype) / dtype(64) + dtype(2**-6)
                 for k in (3, 4))  # fmt: skip


def assert_same_everywhere(make, kind, dtype, space):
    """NumPy's bits, in arrays of a kind, from every function."""
    p, q = batch(dtype)
    for name, call in BATCH.items():
        for a, b in ((p, q), (p[0], q[0])) if name not in ("pairwise", "barycenter") else ((p, q),):
            expected, found = call(a, b, space), call(make(a), make(b), space)
            both = zip(expected, found, strict=True) if isinstance(expected, tuple) else [(expected, found)]
            for x, y in both:
                assert type(y) is kind, name
                y = np.from_dlpack(y)
                assert (y.dtype, y.shape, y.tobytes()) == (x.dtype, x.shape, x.tobytes()), name
    for name, call in PAIR.items():
        assert call(make(p[0]), make(q[0]), space) == call(p[0], q[0], space), name


class Words:
    """An array of which nothing is known but what DLPack asks for."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Array(Words):
    """An array of the library below; it has a device, and no other way to NumPy."""

    def __init__(self, array, device="here"):
        super().__init__(array)
        self.device, self.dtype, self.shape = device, self.array.dtype, self.array.shape

    def __array_namespace__(self, api_version=None):
        return library

    def to_device(self, device, stream=None):
        return Array(self.array, device)


library = types.ModuleType("library")
library.from_dlpack = lambda x: Array(x if isinstance(x, np.ndarray) else np.from_dlpack(x))
