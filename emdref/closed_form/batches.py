"""What every function of a batch of pairs does before and after its kernel."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import casts, containers, gauges, validation
from emdref.arguments.messages import written
from emdref.arguments.validation import Accuracy, Batch, Mass
from emdref.kernels.compile.threads import alone
from emdref.spaces.space import check_space

_ADVICE = "scale the costs or the masses down"
WAY_OUT = 'pass mass="normalize" or mass="ignore", or normalise them yourself'


def checked(p: Any, q: Any, space: Any, mass: str, accuracy: str, v: Any = None, gauge: "int | None" = None) -> Batch:
    """Valid pairs as rows, or an error that says why not."""
    check_options(space, mass, accuracy)
    containers.check_labels({"p": p, "q": q, "v": v}, space)
    rows = validation.batch(p, q, space.n_bins, v)
    if mass == "raise":
        validation.check_masses(rows, WAY_OUT)
    if accuracy == "native" and (mass == "normalize" or gauge == gauges.NORMALIZED):
        validation.check_totals(rows)
    return rows


def one(p: Any, q: Any, space: Any, mass: str, what: str) -> Batch:
    """One valid pair; a sparse matrix of one row is one histogram."""
    p, q = containers.row(p, "p"), containers.row(q, "q")
    rows = checked(p, q, space, mass, "compensated")
    if rows.shape:
        shape = written(rows.shape)
        raise ValueError(
            f"p and q are a batch of shape {shape}: {what} takes one pair at a time, as in "
            f"[emdref.{what}(a, b, space) for a, b in zip(*np.broadcast_arrays(p, q))]"
        )
    return rows


class Unseen:
    """Pairs as rows whose entries nobody has looked at; a kernel does that on the way, and `verify` looks again."""

    def __init__(self, p: Any, q: Any, space: Any, mass: str, accuracy: str) -> None:
        check_options(space, mass, accuracy)
        containers.check_labels({"p": p, "q": q}, space)
        self.rows, self._arrays = validation.unseen_batch(p, q, space.n_bins)
        self.given = tuple(self._arrays.values())
        self._equal = mass == "raise"
        self.tolerance = validation.mass_tolerance(self.rows.p.dtype, space.n_bins) if self._equal else math.inf

    def verify(self) -> None:
        """Raise an error that says what is wrong with the rows, if anything is."""
        for name, x in self._arrays.items():
            validation.check_histograms(x, name)
        if self._equal:
            validation.check_masses(self.rows, WAY_OUT)


def check_options(space: Any, mass: str, accuracy: str) -> None:
    """Refuse what is no space and what is no option."""
    validation.option(mass, "mass", Mass)
    validation.option(accuracy, "accuracy", Accuracy)
    check_space(space)


def loss_mass(space: Any, gauge: str, normalize: object, reduction: object, mass: "str | None", accuracy: str) -> str:
    """What `mass` means to a framework's loss, where None follows the other options; these are checked."""
    validation.layers(normalize, reduction)
    gauges.code(gauge)
    if mass is None:
        mass = "ignore" if gauge == "raw" and normalize is None else "raise"
    check_options(space, mass, accuracy)
    return mass


def as_float64(rows: Batch) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """p and q for the compensated kernels."""
    return casts.widened(rows.p), casts.widened(rows.q)


def native_exponent(rho: float, dtype: Any, *, curvature: bool = False) -> Any:
    """rho in the rows' dtype, which must hold it, and rho (rho-1) for a second derivative."""
    top = rho * (rho - 1) if curvature else rho
    if top > float(np.finfo(dtype).max):
        what = "rho (rho - 1)" if curvature else "it"
        raise ValueError(f'rho = {rho}: {what} is beyond {np.dtype(dtype)}; use accuracy="compensated"')
    return dtype.type(rho)


def warn_beyond(rows: Batch, stacklevel: int = 3, advice: str = _ADVICE, **results: NDArray[Any]) -> None:
    """Say once, by default at the caller's caller, which results are beyond the dtype's range."""
    for what, x in results.items():
        within = alone(np.isfinite, x, work=x.nbytes)  # NaN comes of inf - inf, in native arithmetic
        if not within.all():
            beyond = ~within
            first = validation.row_name(int(np.argwhere(beyond)[0][0]), rows.shape)
            say_beyond(what, int(beyond.sum()), int(np.isnan(x).sum()), first, x.dtype, stacklevel + 1, advice)
            return


def say_beyond(
    what: str, count: int, nans: int, first: str, dtype: Any, stacklevel: int, advice: str = _ADVICE
) -> None:
    """Warn of so many entries that are not finite, so many of which are NaN, the first in a row of that name."""
    warnings.warn(
        f"{count} entries of the {what} are beyond the range of {dtype} and are {'inf or NaN' if nans else 'inf'}"
        f"{', the first in ' + first if first else ''}; {advice}",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def flat(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Rows one behind the other, and how many entries apart they start: 0 for a row that stands for all."""
    if x.flags.c_contiguous:
        return casts.frozen(x.reshape(-1)), x.shape[1]
    step = x.strides[0] // x.itemsize
    size = (len(x) - 1) * step + x.shape[1]
    return casts.frozen(np.lib.stride_tricks.as_strided(x, (size,), (x.itemsize,))), step
