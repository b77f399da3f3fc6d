"""Second derivatives of the Earth Mover's Distance on chains and trees: the Hessian, and its products in O(V)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref import devices, fallback, gauges, inputs, pairs
from emdref.devices import Device
from emdref.gauges import Gauge
from emdref.inputs import Accuracy, Batch, Mass
from emdref.kernels import cpu
from emdref.kernels.threads import over_rows
from emdref.spaces import Space

_BLOCK = 2**20  # entries of results, or of flows, that are done again at a time


def emd_hess(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
) -> Any:
    """Hessian of the Earth Mover's Distance with exponent rho with respect to p.

    With the raw Hessian H = rho (rho-1) sum_e M_e |phi_e|^(rho-2) a_e a_e^T, a_e the indicator of the bins below edge
    e, and P = I - 1 1^T / N:

    ``raw``
        H.
    ``zero_sum``
        P H P, the Jacobian of the gradient in that gauge along steps that conserve mass.
    ``scaled``
        N^2 P H P, Eq. (12) of arXiv 1611.07573 as printed.
    ``normalized``
        (J^T H J - g 1^T - 1 g^T) / |p|^2 with J = I - p 1^T / |p|, where H and g, the gradient r - <p, r> / |p|, are
        taken at p / |p| and q / |q|: the second derivative of EMD(p/|p|, q/|q|) with respect to the p given, whatever
        `mass` is.  It is not 0 at rho = 1.

    At rho = 1 H is 0, kinks included.  Where phi_e = 0, |phi_e|^(rho-2) is 1 at rho = 2 and 0 above; for 1 < rho < 2 it
    is infinite, which is an error unless no entry depends on it: an edge that costs nothing, that has no bins below it,
    or, except in gauge ``raw``, that has all of them below it.

    Parameters
    ----------
    p, q, space, rho, gauge, mass, accuracy, device
        As in `emdref.emd_grad`, except that rho is 2 by default.

    Returns
    -------
    (..., N, N) array of the inputs' dtype, symmetric to the last bit, in units of cost times mass^(rho-2).  Compensated
    and for rho in {1, 2, 3, 4}, each entry in gauge ``raw`` is within 1 ulp of the exact one; in the other gauges it is
    within 8 eps max|H| (times N^2 for ``scaled``; for ``normalized`` within 8 eps (max|H| + 2 max|g|) / |p|^2), where H
    leaves out the edges that no entry depends on.  Another rho adds the errors of the C library's pow and exp (``raw``:
    2.1 ulp were the most in a million entries).  What is beyond the dtype is inf, with one RuntimeWarning.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emdref.emd_grad`, and for 1 < rho < 2 where phi_e = 0, naming the row and the edge.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_hess([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), gauge="raw")
    array([[4., 2., 0.],
           [2., 2., 0.],
           [0., 0., 0.]])
    """
    code, rho = gauges.code(gauge), inputs.exponent(rho)
    place = devices.find(device, p=p, q=q)
    if place:
        return devices.run("second", place, p, q, None, space, rho, mass, accuracy, code)
    rows = pairs.checked(p, q, space, mass, accuracy, gauge=code)
    hess = second(rows, space, rho, mass, accuracy, code)
    pairs.warn_beyond(rows, Hessian=hess)
    return rows.as_rows(hess)


def emd_hvp(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    v: ArrayLike,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Device | None" = None,
) -> Any:
    """Product of the Hessian (see `emd_hess`) with a vector, in O(V) and without the matrix.

    Sums of v below each edge, times rho (rho-1) M_e |phi_e|^(rho-2), summed again on the way down.

    Parameters
    ----------
    v : (..., N) array of finite numbers of any sign, in the dtype of p and q
        Broadcast together with p and q.
    p, q, space, rho, gauge, mass, accuracy, device
        As in `emd_hess`.

    Returns
    -------
    (..., N) array of the inputs' dtype, in units of cost times mass^(rho-2) times those of v.  Compensated and for rho
    in {1, 2, 3, 4}, each entry is within 8 eps |v|_1 max|H|, with the factors that `emd_hess` names.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emd_hess`, and for a v of another dtype, a wrong shape, NaN or inf.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_hvp([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), [1.0, -1.0, 0.0], gauge="raw")
    array([2., 0., 0.])
    """
    code, rho = gauges.code(gauge), inputs.exponent(rho)
    if v is None:
        raise TypeError("v is None: give the vector that the Hessian is multiplied with")
    place = devices.find(device, p=p, q=q, v=v)
    if place:
        return devices.run("second", place, p, q, v, space, rho, mass, accuracy, code)
    rows = pairs.checked(p, q, space, mass, accuracy, v, code)
    product = second(rows, space, rho, mass, accuracy, code)
    pairs.warn_beyond(rows, product=product)
    return rows.as_rows(product)


def second(
    rows: Batch, space: Space, rho: float, mass: str, accuracy: str, gauge: int, numbers: "NDArray[Any] | None" = None
) -> NDArray[Any]:
    """Run one of two kernels on the rows, products if these have a direction, and do exactly what it cannot.

    `numbers` are those of the rows in the batch, if they are not all.
    """
    native, twolimb = (cpu.hess_native, cpu.hess_twolimb) if rows.v is None else (cpu.hvp_native, cpu.hvp_twolimb)
    normalize = mass == "normalize" or gauge == gauges.NORMALIZED
    dtype, layout, cost = rows.p.dtype, space._layout, relevant_cost(space, gauge)
    n = space.n_bins
    direction, shape = ((), (n, n)) if rows.v is None else ((rows.v,), (n,))
    out, infinite = _room((len(rows.p), *shape), dtype), np.zeros(len(rows.p), np.int64)
    if accuracy == "native":
        cost, rho = pairs.narrowed(cost, dtype), pairs.native_exponent(rho, dtype, curvature=True)
        batched = (rows.p, rows.q, *direction, out, infinite)
        shared = (layout.parent, cost, layout.bin_node, rho, normalize, gauge)
        over_rows(native, batched, shared, work=20 * out[:1].size + 4 * space.n_nodes)
        _refuse_infinite(rows, space, layout.order[infinite], infinite > 0, rho, numbers)
        return out
    p, q = pairs.as_float64(rows)
    unsafe, shared = np.zeros(len(p), bool), (layout.parent, cost, layout.bin_node, rho)

    def compute(batched, flows, code):
        work = 30 * out[:1].size + 100 * space.n_nodes
        over_rows(twolimb, (*batched, flows), (*shared, code, gauge), work=work)

    batched = (p, q, *map(pairs.widened, direction), out, unsafe, infinite)
    compute(batched, np.empty((len(p), 0, 0)), int(normalize))
    again = fallback.rows(unsafe | (fallback.beyond(out) & (infinite == 0)))
    step = max(1, _BLOCK // max(space.n_nodes, out[:1].size))
    for some in (again[at : at + step] for at in range(0, len(again), step)):
        block = [np.ascontiguousarray(x[some]) for x in batched]
        block[:-3] = map(inputs.frozen, block[:-3])
        compute(block, fallback.flows(*block[:2], space, cost, normalize), cpu.GIVEN)
        out[some], unsafe[some], infinite[some] = block[-3:]
    again = np.flatnonzero(unsafe | (fallback.beyond(out) & (infinite == 0)))
    edges, name = layout.order[infinite], gauges.name(gauge)
    if 1 < rho < 2:
        for i in again:
            edge = fallback.kink(p[i], q[i], space, normalize, name)
            infinite[i], edges[i] = edge is not None, edge or 0
    _refuse_infinite(rows, space, edges, infinite > 0, rho, numbers)
    for i in again:
        row = (p[i], q[i], space, *(v[i] for v in direction), rho, normalize, name)
        with np.errstate(over="ignore", under="ignore"):
            out[i] = fallback.hvp(*row) if direction else fallback.hess(*row)
    return out


def _room(shape: "tuple[int, ...]", dtype: Any) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        size = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 2**30
        raise MemoryError(
            f"{' x '.join(map(str, shape))} numbers need {size:.0f} GiB: give fewer rows of p at a time, or use emd_hvp"
        ) from None


def relevant_cost(space: Space, gauge: int) -> NDArray[np.float64]:
    """Costs by position, 0 on edges that no second derivative depends on: no bins below, or (but raw) all of them."""
    return space._cost_between(1, space.n_bins if gauge == gauges.RAW else space.n_bins - 1)


def _refuse_infinite(rows: Batch, space: Space, edges, infinite, rho, numbers) -> None:
    if infinite.any():
        i = int(np.argmax(infinite))
        edge = space._edge_name(int(edges[i]))
        i = i if numbers is None else int(numbers[i])
        raise ValueError(
            f"{inputs.row_name(i, rows.shape, ': ')}phi is 0 on {edge}, where the second "
            f"derivative of |phi|**{rho} is infinite: use rho = 1 or rho >= 2, or move some mass across that edge"
        )
