"""Exact Earth Mover's Distance on chains and trees: value, gradient, flow."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref import fallback, gauges, inputs, outputs, pairs, tiled
from emdref.gauges import Gauge
from emdref.inputs import Accuracy, Batch, Mass
from emdref.kernels import cpu
from emdref.kernels.threads import over_rows
from emdref.outputs import Target
from emdref.pairs import Device
from emdref.spaces import Chain, Space

_BLOCK = 2**20  # entries of p that are normalised at a time
_CAREFUL = 10  # how much longer a row takes that is looked at more closely


def emd(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
    out: "NDArray[Any] | None" = None,
) -> Any:
    """Earth Mover's Distance with exponent rho, sum_e M_e |phi_e|^rho.

    Eqs. (5), (10), (13) of arXiv 1611.07573; phi_e is the mass of p - q below edge e.  For rho = 1 this is the optimal
    transport cost.  For rho != 1 it is *not* the Wasserstein distance W_rho^rho, which raises distances, not flows, to
    the power rho.

    Parameters
    ----------
    p, q : (..., N) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms, >= 0; the last axis holds the bins, leading axes are broadcast together.
    space : Chain or Tree
    rho : float
        Finite and >= 1.
    mass : {"raise", "normalize", "ignore"}
        What to do if the totals of a pair differ by more than rounding (16 eps sqrt(N), relative): raise; use
        p / |p| and q / |q| (for every row, whether they differ or not); or compute with the floats as given, which puts
        the difference at the root.
    accuracy : {"compensated", "native"}
        ``compensated``: every sign of phi is right and the value within 1 ulp of the exact one for rho in {1, 2, 3, 4};
        another rho adds the errors of the C library's pow (1.9 ulp were the most in 123,000 cases).  ``native``: plain
        arithmetic in the inputs' dtype, with the costs rounded to it, as a framework computes it.
    device : None or "cpu"
        This version has CPU kernels only.
    out : (...) array of the inputs' dtype, optional
        Where the result goes, and what is returned; p and q may be its memory.  Its contents are undefined if an error
        is raised.

    Returns
    -------
    (...) array, or a scalar for one pair, of the inputs' dtype, in units of cost times mass^rho.

    Raises
    ------
    TypeError
        Other dtypes, or p and q of different ones.
    ValueError
        Shapes that do not fit, NaN, inf, negative mass, an all-zero histogram, totals that differ, rho < 1, an
        unknown option: the message names the argument, the row, the bin and the amount.

    Warns
    -----
    RuntimeWarning
        Once, if a result is beyond the dtype's range (it is inf then).

    Examples
    --------
    >>> import emdref
    >>> emdref.emd([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    np.float64(1.0)
    """
    job = _Job(p, q, space, rho, mass, accuracy, device)
    value = Target(job.rows, job.given, out, "out")
    job.run(value.rows, None, None)
    return value.given()


def emd_grad(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
    out: "NDArray[Any] | None" = None,
) -> Any:
    """Gradient of the Earth Mover's Distance with respect to p.

    With r_k = rho sum_(e above k) M_e sgn(phi_e) |phi_e|^(rho-1), the raw derivative (Eqs. 11 and 15 of arXiv
    1611.07573, where the inner sum of Eq. 15 runs over the leaves under i):

    ``zero_sum``
        r - mean(r), Eqs. (9), (11), (15): conserves mass.
    ``raw``
        r, the partial derivative alone; it depends on the root by a constant.
    ``scaled``
        N (r - mean(r)), Eq. (6) of the ICML 2016 workshop paper.
    ``normalized``
        (r - <p, r> / |p|) / |p| with r taken at p / |p| and q / |q|, Eq. (4) of the workshop paper: the derivative of
        EMD(p/|p|, q/|q|) with respect to the p given, whatever `mass` is.

    At a kink (rho = 1, phi_e = 0) edge e contributes 0, the least of its subgradients.

    Parameters
    ----------
    gauge : {"zero_sum", "raw", "scaled", "normalized"}
        As above.
    p, q, space, rho, mass, accuracy, device, out
        As in `emd`; `out` has the gradient's shape.  With ``mass="normalize"`` the gradient is with respect to p / |p|, except in gauge ``normalized``.

    Returns
    -------
    (..., N) array of the inputs' dtype, in units of cost times mass^(rho-1).  Compensated, each entry is within
    8 eps max|r| of the exact one (times N for ``scaled``, over |p| for ``normalized``) for rho in {1, 2, 3, 4}.

    Raises
    ------
    TypeError, ValueError
        As `emd`, and for an unknown gauge.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_grad([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    array([ 1.,  0., -1.])
    """
    code = gauges.code(gauge)
    job = _Job(p, q, space, rho, mass, accuracy, device, code)
    grad = Target(job.rows, job.given, out, "out", space.n_bins)
    job.run(None, grad.rows, code)
    return grad.given()


def emd_value_and_grad(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
    out: "tuple[NDArray[Any] | None, NDArray[Any] | None] | None" = None,
) -> "tuple[Any, Any]":
    """`emd` and `emd_grad` from one pass over the data; `out` is the pair of theirs, either of which may be None.

    Gauge ``normalized`` takes its gradient at p / |p| and q / |q|; unless ``mass="normalize"`` asks the same of the
    value, that is a second pass.

    Returns
    -------
    value, gradient
        As `emd` and `emd_grad` return and raise them.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_value_and_grad([1.0, 0.0], [0.5, 0.5], emdref.Chain(2), rho=2)
    (np.float64(0.25), array([ 0.5, -0.5]))
    """
    code, (to_value, to_grad) = gauges.code(gauge), outputs.both(out)
    job = _Job(p, q, space, rho, mass, accuracy, device, code)
    value = Target(job.rows, job.given, to_value, "out[0]")
    grad = Target(job.rows, job.given, to_grad, "out[1]", space.n_bins)
    job.run(value.rows, grad.rows, code)
    return value.given(), grad.given()


def flow(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
) -> Any:
    """phi_e, the mass of p - q below each edge, Eqs. (6) and (14) of arXiv 1611.07573.

    A positive phi_e means that mass moves up, towards the root (on a chain: towards the last bin).

    Returns
    -------
    (..., N-1) array on a chain, phi of the gap after each bin; (..., V) on a tree, phi of the edge from each node to
    its parent in the tree's own node order, 0 at the root.  In the inputs' dtype and in units of mass; compensated,
    each entry is the exact one rounded, to within 1 ulp.

    Raises
    ------
    TypeError, ValueError
        As `emd`, whose parameters these are.

    Examples
    --------
    >>> import emdref
    >>> emdref.flow([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    array([0.5, 0.5])
    """
    rows = pairs.checked(p, q, space, mass, accuracy, device)
    layout, normalize = space._layout, mass == "normalize"
    position = np.argsort(layout.order)  # of each node in the kernels' order
    edges = slice(-1) if isinstance(space, Chain) else slice(None)  # the root comes last on a chain and has no edge
    work = space.n_nodes
    if accuracy == "native":
        phi = np.empty((len(rows.p), work), rows.p.dtype)
        over_rows(cpu.flow_native, (rows.p, rows.q, phi), (layout.parent, layout.bin_node, normalize), work=work)
    else:
        phi = np.empty((len(rows.p), work))
        p64, q64 = pairs.as_float64(rows)
        unsafe, most = np.zeros(len(phi), bool), space.n_bins - normalize  # bins below an edge on which anything flows
        weight = space._edges_between(0, most).astype(np.float64)
        shared = (layout.parent, weight, layout.bin_node, normalize)
        over_rows(cpu.flow_twolimb, (p64, q64, phi, unsafe), shared, work=work)
        for i in fallback.rows(unsafe):
            phi[i, position[edges]] = fallback.flow(p64[i], q64[i], space, normalize)
        phi = pairs.narrowed(phi, rows.p.dtype)
    phi[:, 0] = 0  # what is left at the root crosses no edge
    result = np.ascontiguousarray(phi[:, position[edges]])
    pairs.warn_beyond(rows, flow=result)
    return rows.as_rows(result)


def value_and_grad(
    rows: Batch, space: Space, rho: float, mass: str, accuracy: str, gauge: int
) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Both for valid rows, in the rows' dtype, without a warning."""
    value, grad = np.empty(len(rows.p), rows.p.dtype), np.empty(rows.p.shape, rows.p.dtype)
    _both(_Wanted(rows, space, rho, mass, accuracy, math.inf, lambda: None), value, grad, gauge)
    return value, grad


class _Job:
    """One call of a public function: its rows, looked at before the kernel or by it, and its warning."""

    def __init__(self, p, q, space, rho, mass, accuracy, device, gauge=None):
        rho = inputs.exponent(rho)
        self._late = mass != "normalize" and gauge != gauges.NORMALIZED and isinstance(space, Space)
        if self._late:
            unseen = pairs.Unseen(p, q, space, mass, accuracy, device)
            self.rows, self.given, tolerance, verify = unseen.rows, unseen.given, unseen.tolerance, unseen.verify
        else:
            self.rows, self.given = pairs.checked(p, q, space, mass, accuracy, device, gauge=gauge), ()
            tolerance, verify = math.inf, lambda: None
        self._wanted = _Wanted(self.rows, space, rho, mass, accuracy, tolerance, verify)

    def run(self, value, grad, gauge):
        """Fill what is not None, and warn of what is beyond the dtype."""
        if _both(self._wanted, value, grad, gauge):
            results = {"value": value, "gradient": grad}
            pairs.warn_beyond(self.rows, 4, **{what: x for what, x in results.items() if x is not None})


class _Wanted(NamedTuple):
    rows: Batch
    space: Space
    rho: float
    mass: str
    accuracy: str
    tolerance: float  # of totals, for the kernel's first look
    verify: "Callable[[], None]"  # what to do if that finds something


def _both(wanted: _Wanted, value: "NDArray[Any] | None", grad: "NDArray[Any] | None", gauge: "int | None") -> bool:
    """Fill what is not None; True where a result may be beyond the dtype."""
    fill = _native if wanted.accuracy == "native" else _compensated
    apart = value is not None and gauge == gauges.NORMALIZED and wanted.mass != "normalize"
    beyond = fill(wanted, None if apart else value, grad, gauge)
    return fill(wanted, value, None, None) or beyond if apart else beyond


def _normalizes(wanted: _Wanted, gauge: "int | None") -> bool:
    return wanted.mass == "normalize" or gauge == gauges.NORMALIZED


def _options(wanted: _Wanted, value, grad, gauge):
    """What the tile kernels are told of any gauge but ``normalized``, of which they give r."""
    rows, bins = wanted.rows, wanted.space.n_bins
    value = np.empty(len(rows.p), rows.p.dtype) if value is None else value
    grad = np.empty((0, bins), rows.p.dtype) if grad is None else grad
    centred = gauge in (gauges.ZERO_SUM, gauges.SCALED)
    return wanted.rho, centred, bins if gauge == gauges.SCALED else 1, wanted.tolerance, value, grad


def _native(wanted: _Wanted, value, grad, gauge) -> bool:
    if _normalizes(wanted, gauge):
        return _native_normalized(wanted, value, grad, gauge)
    doubt = tiled.native(wanted.rows, wanted.space, False, *_options(wanted, value, grad, gauge))
    if not doubt.any():
        return False
    wanted.verify()
    return True


def _native_normalized(wanted: _Wanted, value, grad, gauge) -> bool:
    """The same for rows divided by their totals, a block of rows at a time."""
    rows, space = wanted.rows, wanted.space
    for at in _blocks(rows):
        p, q = rows.p[at], rows.q[at]
        mass = p.sum(axis=1, keepdims=True)
        shares = Batch(inputs.frozen(p / mass), inputs.frozen(q / q.sum(axis=1, keepdims=True)), (len(p),))
        number, line = (None if x is None else x[at] for x in (value, grad))
        tiled.native(shares, space, True, *_options(wanted._replace(rows=shares), number, line, gauge))
        if gauge == gauges.NORMALIZED:
            with np.errstate(all="ignore"):  # what is beyond the range is said once, of the result
                line[:] = (line - (shares.p * line).sum(axis=1, keepdims=True)) / mass
    return True


def _blocks(rows: Batch) -> "Iterator[slice]":
    size = max(1, _BLOCK // rows.p.shape[1])
    return (slice(at, at + size) for at in range(0, len(rows.p), size))


def _compensated(wanted: _Wanted, value, grad, gauge) -> bool:
    rows, space, normalize = wanted.rows, wanted.space, _normalizes(wanted, gauge)
    doubt = unsafe = np.ones(len(rows.p), bool)
    if not normalize and tiled.fits(space, wanted.rho):
        doubt, unsafe = tiled.compensated(rows, space, *_options(wanted, value, grad, gauge))
    if doubt.any():
        wanted.verify()
    exact = np.zeros(len(rows.p), bool)
    again = np.flatnonzero(unsafe)
    if len(again):
        exact[again] = _careful(wanted, again, normalize, value, grad, gauge)
    for i in fallback.rows(exact):
        p, q = pairs.widened(rows.p[i]), pairs.widened(rows.q[i])
        number, line = fallback.emd(p, q, space, wanted.rho, normalize, gauges.name(gauge))
        _put(value, i, np.float64(number))
        _put(grad, i, np.array(line))
    return bool(doubt.any()) or len(again) > 0


def _careful(wanted: _Wanted, again, normalize, value, grad, gauge) -> NDArray[np.bool_]:
    """Rows by number, by the kernel that looks closer; returns which of them must be done again exactly."""
    rows, space = wanted.rows, wanted.space
    p, q = (inputs.frozen(np.ascontiguousarray(x[again], np.float64)) for x in (rows.p, rows.q))
    layout = space._layout
    numbers, unsafe = np.zeros(len(p)), np.zeros(len(p), bool)
    lines = np.zeros(p.shape if grad is not None else (0, space.n_bins))
    shared = (layout.parent, tiled.costs(space, normalize), layout.bin_node, wanted.rho, normalize, gauge or 0)
    over_rows(cpu.emd_twolimb, (p, q, numbers, lines, unsafe), shared, work=_CAREFUL * space.n_nodes)
    _put(value, again, numbers)
    if grad is not None:
        _put(grad, again, lines)
        unsafe |= fallback.beyond(lines)
    return unsafe


def _put(result: "NDArray[Any] | None", at: Any, numbers: Any) -> None:
    """Write results in the caller's dtype."""
    if result is not None:
        result[at] = pairs.narrowed(numbers, result.dtype)
