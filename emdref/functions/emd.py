"""Exact Earth Mover's Distance: value, gradient, flow."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from emdref.arguments import containers, devices, gauges, results, validation
from emdref.arguments.devices import Device
from emdref.arguments.gauges import Gauge
from emdref.arguments.results import Target
from emdref.arguments.validation import Accuracy, Mass
from emdref.closed_form import batches, prepared
from emdref.closed_form.escalation import SEEN, Wanted, fill, lingers, values
from emdref.functions.dispatch import on_gpu
from emdref.spaces.space import Space


def emd(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: Device | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    r"""Earth Mover's Distance between histograms, with exponent rho.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    phi_e is the mass of p - q below edge e, and M_e is the cost of that edge: Eqs. (5), (10) and (13) of arXiv
    1611.07573.  For rho = 1 this is the optimal transport cost.  For rho != 1 it is *not* the Wasserstein distance
    W_rho^rho, which raises distances, not flows, to the power rho.

    Parameters
    ----------
    p, q : (..., N) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms, >= 0.  The last axis holds the bins; leading axes are broadcast together.  Either may be a table of
        pandas, or a scipy.sparse matrix or array in which no place has two entries.  Both may be arrays of one other
        library.  See Notes.
    space : Space
        Where the bins are: a `Chain`, a `Tree`, a `Circle`, or a space of your own.
    rho : float
        Finite and >= 1.
    mass : {"raise", "normalize", "ignore"}
        What to do if the totals of a pair differ by more than rounding explains (``16 eps sqrt(N)``, relative).
        ``raise`` is an error.  ``normalize`` uses ``p / |p|`` and ``q / |q|``, for every row, whether they differ or
        not.  ``ignore`` computes with the floats as given, which puts the difference at the root.
    accuracy : {"compensated", "native"}
        ``compensated``: every sign of phi is right, and the value is within 1 ulp of the exact one for rho in
        {1, 2, 3, 4}.  Another rho adds the errors of the C library's pow (1.9 ulp were the most in 123,000 cases).
        ``native``: plain arithmetic in the inputs' dtype, with the costs rounded to it, as a framework computes it.
        For rho in {1, 2, 3, 4} both give the same bits on every processor.
    device : None, "cpu" or "cuda"
        ``None`` follows the inputs.  Arrays on a GPU (of CuPy, torch, Numba, or anybody but JAX who has the CUDA array
        interface) are taken there without a copy to the host, on their own stream, and the same kind comes back.  A
        tensor that requires grad is refused, since nothing is recorded for autograd.  ``"cuda"`` moves input on the
        host to the current GPU, and the results back.
    out : (...) array of the inputs' dtype, optional
        Where the result goes, and what is returned: a NumPy array, or one of the inputs' kind where they lie.  p and q
        may be its memory.  Its contents are undefined if an error is raised.

    Returns
    -------
    (...) array, or a scalar for one pair
        Of the inputs' kind and dtype, in units of cost times mass^rho.  One pair of another library, or on a GPU, gives
        an array without axes.

    Raises
    ------
    TypeError
        Other dtypes; p and q of two dtypes or of two libraries; what JAX traces; what has no numbers to read.
    ValueError
        Shapes that do not fit, NaN, inf, negative mass, an all-zero histogram, totals that differ, rho < 1, an
        unknown option.  The message names the argument, the row, the bin and the amount.
    RuntimeError
        No GPU to be used, or not enough memory on it; arrays on the host and on a GPU, on GPUs of two frameworks or on
        two GPUs; tensors and arrays on devices where nothing here computes.

    Warns
    -----
    RuntimeWarning
        Once, if a result is beyond the dtype's range (it is inf then).

    Notes
    -----
    *Sparse rows* take ``O(k log V)`` steps for k bins with mass, on the subtree that these span, after ``O(V)`` steps
    once a space.  Compensated values are those of the dense rows, bit for bit for rho in {1, 2, 3, 4}: a row whose
    rounding two limbs leave open is made dense.  With ``native`` they have the same two limbs, without that check.  All
    other functions of histograms on the CPU take sparse rows too.  All but `pairwise` make them dense, as their results
    are.  Functions of one pair take a matrix of one row for that row.

    *Arrays of torch, of JAX* and of anybody else who speaks DLPack, all of one library on the host, are looked at where
    they lie.  Results are arrays of that library over the memory that was computed into.  Lists go with any.  What the
    library of an array cannot be asked for (it has no ``from_dlpack``) comes back as NumPy's.  All functions of batches
    do the same; docs/howto/arrays.md has a table.

    *Labels* of a pandas Series (its index) or DataFrame (its columns) must be ``space.bin_labels`` in their order;
    nothing is reordered.  A default RangeIndex is positional.  All functions of histograms do the same.  Without a
    space the labels of all arguments must be the same.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    np.float64(1.0)
    >>> import scipy.sparse
    >>> p, q = (scipy.sparse.coo_array(([1.0], ([0], [k])), (1, 10**6)) for k in (7, 9))
    >>> emdref.emd(p, q, emdref.Chain(10**6))
    array([2.])
    """
    if device is None:
        at_once = prepared.value(p, q, space, rho, mass, accuracy, out)
        if at_once is not None:
            return at_once
    place = devices.find(device, p=p, q=q)
    if place:
        outs = {"value": (out, "out")}
        return on_gpu("value_and_grad", place, p, q, space, rho, mass, accuracy, None, outs)["value"]
    if (containers.is_sparse(p) or containers.is_sparse(q)) and getattr(space, "rooted", None) is not None:
        from emdref.closed_form import sparse_emd  # here, because few need it

        return results.filled(out, sparse_emd.emd(p, q, space, rho, mass, accuracy, values))
    job = _Job(p, q, space, rho, mass, accuracy)
    value = job.target(out, "out")
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
    device: Device | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    r"""Gradient of the Earth Mover's Distance with respect to p.

    .. math:: r_k = \rho \sum_{e \text{ above } k} M_e \, \operatorname{sgn}(\phi_e) \, |\phi_e|^{\rho - 1}

    is the raw derivative (Eqs. 11 and 15 of arXiv 1611.07573, where the inner sum of Eq. 15 runs over the leaves under
    i).  The four gauges fix its constant and its scale in four ways:

    ``zero_sum``
        ``r - mean(r)``, Eqs. (9), (11) and (15).  A step along it conserves mass.
    ``raw``
        ``r``, the partial derivative alone.  It depends on the root by a constant.
    ``scaled``
        ``N (r - mean(r))``, Eq. (6) of the ICML 2016 workshop paper.
    ``normalized``
        ``(r - <p, r> / |p|) / |p|`` with r taken at ``p / |p|`` and ``q / |q|``, Eq. (4) of the workshop paper.  It is
        the derivative of ``EMD(p/|p|, q/|q|)`` with respect to the p given, whatever `mass` is.

    At a kink (rho = 1, phi_e = 0) edge e contributes 0, the least of its subgradients.

    Parameters
    ----------
    gauge : {"zero_sum", "raw", "scaled", "normalized"}
        As above.
    p, q, space, rho, mass, accuracy, device, out
        As in `emd`; `out` has the gradient's shape.  With ``mass="normalize"`` the gradient is with respect to
        ``p / |p|``, except in gauge ``normalized``.

    Returns
    -------
    (..., N) array of the inputs' dtype
        In units of cost times mass^(rho-1).  Compensated, each entry is within ``8 eps max|r|`` of the exact one (times
        N for ``scaled``, over ``|p|`` for ``normalized``) for rho in {1, 2, 3, 4}.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emd`, and for an unknown gauge.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_grad([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    array([ 1.,  0., -1.])
    """
    if device is None:
        at_once = prepared.value_and_grad(p, q, space, rho, mass, accuracy, gauge, out)
        if at_once is not None:
            return at_once[1]
    code, place = gauges.code(gauge), devices.find(device, p=p, q=q)
    if place:
        outs = {"gradient": (out, "out")}
        return on_gpu("value_and_grad", place, p, q, space, rho, mass, accuracy, code, outs)["gradient"]
    job = _Job(p, q, space, rho, mass, accuracy, code)
    grad = job.target(out, "out", space.n_bins)
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
    device: Device | None = None,
    out: tuple[NDArray[Any] | None, NDArray[Any] | None] | None = None,
) -> tuple[Any, Any]:
    r"""Value and gradient, `emd` and `emd_grad`, from one pass over the data.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho
       \qquad \text{and} \qquad \frac{\partial}{\partial p} \mathrm{EMD}^\rho(p, q)

    Gauge ``normalized`` takes its gradient at ``p / |p|`` and ``q / |q|``.  That is a second pass, unless
    ``mass="normalize"`` asks the same of the value.

    Parameters
    ----------
    p, q, space, rho, gauge, mass, accuracy, device
        As in `emd` and `emd_grad`.
    out : pair of arrays, optional
        Where value and gradient go.  Either may be None.

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
    if device is None and out is None:
        at_once = prepared.value_and_grad(p, q, space, rho, mass, accuracy, gauge)
        if at_once is not None:
            return at_once
    code, (to_value, to_grad) = gauges.code(gauge), results.both(out)
    place = devices.find(device, p=p, q=q)
    if place:
        outs = {"value": (to_value, "out[0]"), "gradient": (to_grad, "out[1]")}
        return tuple(on_gpu("value_and_grad", place, p, q, space, rho, mass, accuracy, code, outs).values())
    job = _Job(p, q, space, rho, mass, accuracy, code)
    value, grad = job.target(to_value, "out[0]"), job.target(to_grad, "out[1]", space.n_bins)
    results.check_apart(value, grad)
    job.run(value.rows, grad.rows, code)
    return value.given(), grad.given()


def flow(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: Device | None = None,
) -> Any:
    r"""Flow on each edge: how much mass passes it, and which way.

    .. math:: \phi_e = \sum_{k \text{ below } e} (p_k - q_k)

    These are Eqs. (6) and (14) of arXiv 1611.07573.  A positive phi_e means that mass moves up, towards the root (on a
    chain: towards the last bin).

    Where edges close a circle, the masses leave a flow round it open.  Then phi is the flow of least
    ``sum_e M_e |phi_e|^rho``, in the middle of all such flows.  Only there rho matters.

    Parameters
    ----------
    rho : float
        Finite and >= 1.
    p, q, space, mass, accuracy, device
        As in `emd`.

    Returns
    -------
    (..., E) array of the inputs' dtype
        An entry an edge, in the order of ``space.edges`` and in units of mass.  On a chain (..., N-1): phi of the gap
        after each bin.  On a tree (..., V): phi of the edge from each node to its parent, in the tree's own node order,
        0 at the root.  On a circle (..., N): phi of the gap after each bin.

        Compensated, each entry is the exact one rounded, to within 1 ulp (on a circle for rho = 1 and 2).

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emd`.

    Examples
    --------
    >>> import emdref
    >>> emdref.flow([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3))
    array([0.5, 0.5])
    """
    rho, place = validation.exponent(rho), devices.find(device, p=p, q=q)
    if place:
        return on_gpu("flow", place, p, q, space, mass, accuracy)
    from emdref.closed_form.flows import flows  # here, so that who wants values alone need not wait for it

    rows = prepared.checked(p, q, space, mass, accuracy)
    result = flows(rows, space, rho, mass, accuracy)
    batches.warn_beyond(rows, flow=result)
    return rows.as_rows(result)


def emd_cost_grad(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: Device | None = None,
) -> Any:
    r"""Derivative of the Earth Mover's Distance with respect to the cost of each edge.

    .. math:: \frac{\partial \, \mathrm{EMD}^\rho}{\partial M_e} = |\phi_e|^\rho

    The value is ``sum_e M_e |phi_e|^rho`` (Eqs. 10 and 13 of arXiv 1611.07573).  On a chain or a tree the flow phi does
    not depend on the costs M.  There the value is linear in them: it is exactly the sum of M_e times this derivative.

    Where edges close a circle, the value is the least such sum of all flows, which is concave in M.  This is its
    derivative by the envelope theorem, with the flow that `flow` gives.  Several flows may cost the same (at rho = 1;
    `flow` is in their middle).  Then it is one of the supergradients: for any other costs M', EMD^rho is at most
    ``sum_e M'_e |phi_e|^rho``.

    Parameters
    ----------
    p, q, space, rho, mass, accuracy, device
        As in `emd`; with ``mass="normalize"`` it is the derivative of ``EMD(p/|p|, q/|q|)``.

    Returns
    -------
    (..., E) array of the inputs' dtype
        An entry an edge as in `flow`, 0 at a tree's root, in units of mass^rho.  For rho = 1 it is ``abs(flow)``.

        Compensated and in float32, it is within 1 ulp of the exact one for rho in {1, 2, 3, 4} (rho + 1 on a GPU).  In
        float64 it is within 1, 3, 5 and 7 ulp, for the float next to phi is raised to the power.  Another rho
        multiplies the error of phi, 1/2 ulp, by rho and adds that of the C library's pow.  On a circle this holds for
        rho = 1 and 2.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emd`.

    Warns
    -----
    RuntimeWarning
        Once, if an entry is beyond the dtype's range (it is inf then).

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_cost_grad([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(gaps=[1.0, 3.0]), rho=2)
    array([0.25, 0.25])
    """
    rho, place = validation.exponent(rho), devices.find(device, p=p, q=q)
    if place:
        return on_gpu("cost_grad", place, p, q, space, rho, mass, accuracy)
    from emdref.closed_form.flows import powers

    rows = prepared.checked(p, q, space, mass, accuracy)
    result = powers(rows, space, rho, mass, accuracy)
    named: dict[str, Any] = {"derivative by costs": result}
    batches.warn_beyond(rows, **named)
    return rows.as_rows(result)


class _Job:
    """One call of a public function: its rows, looked at before the kernel or by it, and its warning."""

    def __init__(
        self, p: Any, q: Any, space: Space, rho: float, mass: str, accuracy: str, gauge: int | None = None
    ) -> None:
        rho = validation.exponent(rho)
        normalized = gauge == gauges.NORMALIZED or (isinstance(mass, str) and mass == "normalize")
        self._late = isinstance(space, Space) and not normalized
        if self._late:
            unseen = batches.Unseen(p, q, space, mass, accuracy)
            self.rows, self.given, tolerance, verify = unseen.rows, unseen.given, unseen.tolerance, unseen.verify
        else:
            self.rows, self.given = batches.checked(p, q, space, mass, accuracy, gauge=gauge), ()
            tolerance, verify = SEEN, lambda: None
        self._wanted = Wanted(self.rows, space, rho, mass, accuracy, tolerance, verify)

    def target(self, out: Any, name: str, *line: int) -> Target:
        """Where a result goes."""
        return Target(self.rows, self.given, out, name, *line, apart=lingers(self._wanted.space, len(self.rows.p)))

    def run(self, value: Any, grad: Any, gauge: int | None) -> None:
        """Fill what is not None, and warn of what is beyond the dtype."""
        if fill(self._wanted, value, grad, gauge):
            results = {"value": value, "gradient": grad}
            batches.warn_beyond(self.rows, 4, **{what: x for what, x in results.items() if x is not None})
