"""Sinkhorn in a tensor core's format, step by step, by ml_dtypes and NumPy's own float16.  Imports nothing of emdref.

Every step is done in float64 from stored numbers and rounded by way of float32.  What a float32 sum in some order, exp
or log may turn out to be is an interval; where both its ends are stored as the same number the step is determined.
"""

import ml_dtypes
import numpy as np

ULP = 2.0**-24  # half an ulp of float32, relative
TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
START = {"paper": 1, "frogner": 1, "caffe": 1, "mocha": 0, "cuturi": 0}  # K = exp(-lam M - this)


class Undetermined(Exception):
    """The order of a sum decides how its result is stored."""


def tf32(x):
    """To 11 significant bits by way of fraction and exponent."""
    fraction, exponent = np.frexp(np.asarray(x, np.float32).astype(np.float64))
    scale = np.maximum(exponent, -125) - 11  # subnormals have fewer bits
    return np.ldexp(np.rint(np.ldexp(fraction, exponent - scale)), scale)


class Arithmetic:
    """Storing and multiplying in one format."""

    def __init__(self, name):
        self.name = name

    def stored(self, x, doubt=0.0):
        """x within +- doubt, stored in the format; in float32 for tf32, which keeps x as it is."""
        x = np.asarray(x, np.float64)
        if self.name == "tf32":
            return x
        with np.errstate(over="ignore", invalid="ignore"):
            low, middle, high = (
                y.astype(np.float32).astype(TYPES[self.name]).astype(np.float64) for y in (x - doubt, x, x + doubt)
            )
        return self._agreed(middle, low, high)

    def operand(self, x):
        """x as a product takes it; tf32 numbers carry the errors of some float32 steps."""
        if self.name != "tf32":
            return x
        low, high = (tf32(x * (1 + s * 16 * ULP)) for s in (-1, 1))
        return self._agreed(tf32(x), low, high)

    def product(self, a, x):
        terms = self.operand(a) * self.operand(x)
        return self.total(terms)

    def total(self, terms):
        """Sum along the last axis in float32, in any order."""
        return self.stored(terms.sum(-1), (terms.shape[-1] + 1) * ULP * np.abs(terms).sum(-1))

    def libm(self, f, x):
        """exp or log, within 4 ulp of float32."""
        with np.errstate(divide="ignore"):
            y = np.asarray(f(x))
        out = np.full(y.shape, -np.inf)
        finite = np.isfinite(y)
        out[finite] = self.stored(y[finite], 8 * ULP * np.abs(y[finite]))
        return out

    @staticmethod
    def _agreed(middle, low, high):
        if not np.array_equal(low, high):
            raise Undetermined
        return middle


def rounded(x, name):
    """Histograms or costs as the format stores them, in float64."""
    single = np.asarray(x).astype(np.float32)
    return (single if name == "tf32" else single.astype(TYPES[name])).astype(np.float64)


def kernel_of(do, cost, lam, shift):
    exponent = np.float32(-np.float32(lam)) * cost.astype(np.float32) - np.float32(shift)
    return do.libm(np.exp, exponent.astype(np.float64))


def sinkhorn(variant, name, p, q, cost, lam, iterations):
    """What `emdref.sinkhorn` returns for one pair, in float64 numbers of the format; Undetermined if it is not."""
    do, n = Arithmetic(name), len(p)
    p, q, cost = (rounded(x, name) for x in (p, q, cost))
    k = kernel_of(do, cost, lam, START[variant])
    km = do.stored(k * cost)
    u = np.full(n, {"mocha": 1 / n, "cuturi": (p > 0).sum()}.get(variant, 1.0))
    u = do.stored(np.where((p == 0) & (variant == "cuturi"), 0, u))
    for _ in range(iterations):
        v = divide(do, q, do.product(k.T, u))
        u = divide(do, p, do.product(k, v))
    ktu = do.product(k.T, u)
    v = v if variant == "caffe" else divide(do, q, ktu)
    return outcome(do, variant, u, v, do.product(k, v), ktu, do.product(km, v), p, q, float(np.float32(lam)))


def divide(do, x, d):
    return do.stored(np.where(x == 0, 0, x / np.where(x == 0, 1, d)))


def outcome(do, variant, u, v, kv, ktu, kmv, p, q, lam):
    rows, columns = do.stored(u * kv), do.stored(v * ktu)
    log_u, log_v = do.libm(np.log, u), do.libm(np.log, v)
    cost = do.total(do.stored(u * kmv))
    entropy = do.stored(weighted(do, rows, log_u) + weighted(do, columns, log_v))
    objective = do.stored(do.stored(entropy - START[variant] * do.total(rows)) / lam)
    grad = do.stored(log_u / lam)
    if variant in ("frogner", "caffe"):
        count = (p > 0).sum()
        total = grad[p > 0].sum() / count
        mean = do.stored(total, (count + 2) * ULP * np.abs(grad[p > 0]).sum() / count)
        grad = do.stored(grad - mean)
    errors = [do.total(np.abs(do.stored(mass - x))) for mass, x in ((rows, p), (columns, q))]
    return {
        "value": objective if variant == "caffe" else cost,
        "objective": objective,
        "grad": grad,
        "log_u": log_u,
        "log_v": log_v,
        "marginal_error": max(errors),
    }


def weighted(do, mass, log):
    return do.total(do.stored(np.where(mass == 0, 0, mass * np.where(mass == 0, 0, log))))
