"""The Sinkhorn distance as the papers and the deep-learning frameworks compute it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from emdref.arguments import containers, devices, libraries, validation
from emdref.arguments.devices import Device
from emdref.arguments.messages import shown
from emdref.entropic import failures, formats, inputs
from emdref.entropic.iteration import iterate, looks_itself
from emdref.entropic.results import SinkhornResult, with_checkpoints
from emdref.entropic.variants import VARIANTS, Variant
from emdref.spaces.space import Space

Kernel = Literal["auto", "dense", "space"]
Domain = Literal["linear", "log"]


def sinkhorn(
    p: ArrayLike,
    q: ArrayLike,
    space_or_cost: Space | ArrayLike,
    lam: float,
    *,
    max_iter: int = 100,
    tol: float | Literal["auto"] = 0.0,
    variant: str = "paper",
    kernel: Kernel = "auto",
    domain: Domain = "linear",
    init: tuple[ArrayLike, ArrayLike] | None = None,
    checkpoints: Sequence[int] | None = None,
    unrolled: bool = False,
    dtype: DTypeLike | Literal["bfloat16", "float16", "tf32"] | None = None,
    device: Device | None = None,
) -> SinkhornResult:
    r"""Sinkhorn distance and gradient by Algorithm 1 of arXiv 1611.07573, in the variants that frameworks run.

    .. math:: v \leftarrow \frac{q}{K^T u}, \qquad u \leftarrow \frac{p}{K v}, \qquad K = e^{-\lambda M - 1}

    The plan ``T = diag(u) K diag(v)`` then tends to the one that solves Eq. 3 (with the sign of its entropy put right):

    .. math:: \min_{T \ge 0} \; \langle T, M \rangle + \frac{1}{\lambda} \langle T, \log T \rangle
       \quad \text{with} \quad \sum_j T_{ij} = p_i, \quad \sum_i T_{ij} = q_j

    M are the distances between bins, and lam stands for the λ of the papers.

    Parameters
    ----------
    p, q : (..., N) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms of equal total, up to rounding in the dtype given.  Leading axes are broadcast together.
    space_or_cost : Space or (N, N) array
        A cost matrix must be finite, >= 0, symmetric and zero on the diagonal; one of pandas names its bins.  Two
        entries that rounding alone tells apart count as the larger of them: their squares are within
        ``16 eps sqrt(N) max(M)^2``, with the eps of the matrix' own dtype (integers are not rounded).
    lam : float > 0
        Inverse strength of the entropy, in units of 1 / cost.
    max_iter : int >= 1
        Iterations at most (exactly, with ``tol=0``).
    tol : float >= 0 or "auto"
        Stop a row when its marginal error is at most this, which must be less than its total.  ``"auto"`` is
        ``4 eps sqrt(N)``, in the log domain ``4 eps (sqrt(N) + lam max(M))``, times the row's total; but at most 1e-3
        of it, beyond which no plan is identified.  ``0`` never stops and never reports convergence.
    variant : {"paper", "frogner", "cuturi", "caffe", "mocha", "overrelaxed"}
        ``paper``
            Algorithm 1: ``K = exp(-lam M - 1)``, ``u_0 = 1``, v refreshed after the last u, value ``<T, M>``, gradient
            ``log u / lam``.  The paper uses lam = 3 and 100 iterations.
        ``frogner``
            ``paper`` with the gradient's mean removed (Frogner et al. 2015; lam = 50 and 10 iterations are typical).
        ``cuturi``
            Cuturi 2013: ``K = exp(-lam M)``, bins with p = 0 dropped, u_0 = the number of bins kept.
        ``caffe``
            v from before the last u, the objective for a value, a centred gradient: the layer of Caffe's pull request
            3817 with its option ``shift_gradient``.  The paper quotes 100 iterations; a published default of lam is not
            known.
        ``mocha``
            Mocha.jl: ``K = exp(-lam M)``, ``u_0 = 1 / N``, not centred (50 iterations unless told otherwise, lam to be
            given).
        ``overrelaxed``
            ``paper`` with ``u <- u^(1-w) (p / (K v))^w`` and v likewise (Thibault et al. 2021).  Each row's
            1 <= w <= 1.98 is set from the rate at which its defect falls (Lehmann et al. 2022), and held back bin by
            bin where the dual value could fall.  It reaches the same optimum in far fewer iterations where lam is
            large: for results, not for studies of Algorithm 1.
    kernel : {"auto", "dense", "space"}
        ``dense``: the N x N matrix in `dtype` and a BLAS product, as the frameworks do.  ``space``: ``O(V)`` sums along
        the tree or chain, componentwise accurate.  ``auto``: ``space`` if a space is given.  Last bits depend on the
        processor: exp and log are NumPy's and the C library's, and BLAS sums in an order of its own.
    domain : {"linear", "log"}
        ``log`` keeps logarithms: no scaling and no product under- or overflows.
    init : (log_u, log_v), optional, each (..., N) or (N,)
        Start from ``u = exp(log_u)`` instead of the variant's; log_v follows from it and is only checked.
    checkpoints : sequence of int, optional
        Iterations of this one run at which results are kept as well.
    unrolled : bool
        Also differentiate the truncated iteration itself (see Notes), into ``grad_unrolled`` of the result and of each
        checkpoint.  Each costs about six times the iterations that led to it, and ``O(sqrt(n_iter))`` vectors a row.
    dtype : float32, float64, "bfloat16", "float16" or "tf32", optional
        Convert p and q to it, once their totals are compared; by default their own.  The last three, or the dtype
        objects of that name, are emulated: see Notes.
    device : None, "cpu" or "cuda"
        None follows the arrays.  Those of CuPy, torch or Numba that lie on a GPU are used there, and results come back
        as the same kind (`status`, `converged`, `failed_at` and `failed_bin` on the host).  Arrays of another library
        on the host come back as in `emdref.emd`, and what is no float (`n_iter` too) as NumPy's.  A cost matrix may be
        of any library.  ``"cuda"`` moves arrays on the host there and back.  `unrolled`, variant ``overrelaxed`` and
        the emulated formats are the CPU's alone.

    Returns
    -------
    SinkhornResult
        Value, objective, gradient, scalings, and a status that says what became of each row.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd`, and for lam <= 0 or beyond the dtype, max_iter < 1, a bad cost matrix, checkpoints beyond
        max_iter, an unknown option, an `unrolled` that is not True or False, a distance beyond the dtype, a row that a
        format rounds to 0, a format with the log domain, the space kernel or `unrolled`,
        `unrolled` with variant ``overrelaxed``.

    Warns
    -----
    RuntimeWarning
        Once a call: how many rows failed, how, which was the first, in which iteration and bin, and what to do; or how
        many are ``unresolved``; or how many did not reach `tol`.

    Notes
    -----
    *Formats.* ``dtype="bfloat16"`` (8 significant bits, float32's exponents), ``"float16"`` (11 bits, 6e-8 to 65504,
    gradual underflow) and ``"tf32"`` (11 bits, float32's exponents, in products alone) emulate what deep-learning
    frameworks do on tensor cores, with ``kernel="dense"`` and ``domain="linear"`` only; ``kernel="auto"`` will do for
    a matrix. Results are float32 arrays that hold numbers of the format. All rounding is to nearest, ties to even;
    subnormal numbers are kept, which some compilers flush to 0.

    - bfloat16, float16: every array is stored in the format: p, q, M, K, ``K * M``, u, v, ``K v``, ``u * (K M v)``,
      ``log u``, the results.  Matrix products take such operands, accumulate in float32 and round once at the end.
      Elementwise arithmetic, exp and log included, is done in float32 and rounded, one operation at a time.  Sums
      (value, objective, marginal_error, means) accumulate in float32 and are rounded at the end.
    - tf32: arrays are float32, as is all elementwise arithmetic; operands of matrix products are rounded to TF32.
    - K alone is evaluated as a whole: ``exp(-lam M - shift)`` in float32, rounded once, with lam a float32 number.  A
      layer whose exponents are stored in bfloat16 loses more.
    - float64 input goes through float32.  Totals are compared as given, before rounding, in the coarser precision of p
      and q; rounding then moves them apart, and no row need sum to 1 any more.  marginal_error is against the rounded p
      and q, by the format's own products; a mass rounded to 0 is an empty bin.
    - ``tol="auto"`` takes the format's eps (2^-7 for bfloat16, else 2^-10), and 2 eps for its limit.

    *Derivatives.* Algorithm 1 returns ``<T, M>`` with ``log u / lam``, which is the gradient of the objective, and of
    that only at convergence. ``grad_unrolled.value`` and ``grad_unrolled.objective`` are the partial derivatives of the
    `value` and the `objective` returned after k = n_iter iterations with respect to p_i.  Each entry is varied by
    itself and not projected onto steps that conserve mass; q, K, u_0 and k are held. With
    ``v_t = q / (K^T u_{t-1})``, ``u_t = p / (K v_t)`` and ``v_{k+1}`` the refreshed v,

    .. math:: \frac{d}{dp} = \sum_t \phi_t, \qquad
       \phi_{t-1} = -\frac{K (v_t \gamma_t)}{K v_{t-1}}, \qquad
       \gamma_t = -\frac{K^T (u_t \phi_t)}{K^T u_{t-1}}

    from

    .. math:: \phi_k = \frac{K v_{k+1}}{K v_k} \left( x - \frac{K (v_{k+1} y)}{K v_{k+1}} \right)

    For ``<T, M>`` it is ``x = (K o M) v_{k+1} / (K v_{k+1})`` and ``y = (K o M)^T u_k / (K^T u_k)``, where o multiplies
    entry by entry.  For the objective it is ``x = log u_k / lam`` and ``y = K^T (u_k x) / (K^T u_k)``.  (``caffe``
    starts from its own last plan, and its value is the objective.)

    A factor of p moves no plan, so that ``sum_i p_i d/dp_i`` is 0 (in ``caffe`` the objective plus ``sum(p) / lam``).
    As k grows, the objective's derivative tends to ``log u / lam`` up to the constant which that fixes.  That of
    ``<T, M>`` tends to the true gradient of the converged ``<T, M>``, which at finite lam is another one.

    Where p_i = 0 derivatives are those from the right: finite for ``<T, M>``, -inf for the objective, and 0 in
    ``cuturi``, which has dropped the bin.  Far from convergence they may be beyond the dtype (inf, or NaN where terms
    of both signs are).  They are NaN in rows that failed, and in the linear domain where ``K v`` has underflowed.

    *Source.* Algorithm 1 and Eq. 3 of arXiv 1611.07573.  The derivatives are derived here, by reverse accumulation.

    Examples
    --------
    >>> import emdref
    >>> r = emdref.sinkhorn([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), lam=20.0)
    >>> round(float(r.value), 6), r.status
    (1.0, 'iteration_limit')

    What the cap costs, and what it costs to take ``log u / lam`` for the gradient of ``<T, M>``:

    >>> p, q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
    >>> r = emdref.sinkhorn(p, q, emdref.Chain(3), lam=2.0, max_iter=1000, checkpoints=(1,), unrolled=True)
    >>> print(r.checkpoints[1].grad_unrolled.objective.round(4), r.grad_unrolled.objective.round(4))
    [ 0.0793 -0.0184 -0.1402] [ 0.6745 -0.3432 -1.0057]
    >>> print((r.grad - p @ r.grad).round(4), r.grad_unrolled.value.round(4))
    [ 0.6745 -0.3432 -1.0057] [ 0.7069 -0.2249 -1.1889]
    >>> low = emdref.sinkhorn([0.5, 0.5, 0.0], [0.1, 0.4, 0.5], emdref.Chain(3), 3.0, kernel="dense", dtype="bfloat16")
    >>> float(low.value)  # the EMD is 0.9, between this and the next bfloat16
    0.8984375
    """
    containers.check_labels({"p": p, "q": q, "init": init}, space_or_cost)
    log_u, log_v = init if isinstance(init, (tuple, list)) and len(init) == 2 else (None, None)
    given = {"p": p, "q": q, "init's log_u": log_u, "init's log_v": log_v}
    place = devices.find(device, **given, space_or_cost=_on_gpu(space_or_cost))
    switches = variant_of(variant)
    validation.option(kernel, "kernel", Kernel)
    validation.option(domain, "domain", Domain)
    unrolled = validation.switch(unrolled, "unrolled")
    if unrolled and switches.relaxation > 1:
        raise ValueError(f'unrolled=True differentiates plain iterations, not variant="{variant}": use variant="paper"')
    max_iter = validation.count(max_iter, "max_iter")
    stops = inputs.iterations(checkpoints, max_iter)
    where = inputs.metric(_on_host(space_or_cost))
    form = formats.find(dtype)
    if form:
        inputs.emulable(form, where, kernel, domain, unrolled)
    if place:
        from emdref.gpu import entropic

        _check_device(form, variant, unrolled)
        results, shape, error = entropic.iterate(
            place, (p, q), where, dtype, lam, switches, kernel, domain, tol, init, max_iter, stops
        )
        return _reported(results, max_iter, stops, shape, error, tol)
    looks = looks_itself(where, switches, kernel, unrolled, dtype)
    rows = (inputs.unseen(p, q, where) if looks else inputs.rows(p, q, where, form or dtype))._replace(
        home=libraries.home(given)
    )
    check = partial(inputs.rows, p, q, where, None) if looks else None
    try:
        lam = inputs.strength(lam, rows.p.dtype)
        results = iterate(rows, where, lam, switches, kernel, domain, tol, init, max_iter, stops, unrolled, form, check)
    except Exception:
        _comes_first(check)
        raise
    error = libraries.as_numpy(results[max_iter].marginal_error, "marginal_error")
    return _reported(results, max_iter, stops, rows.shape, error, tol)


def _comes_first(check: Any) -> None:
    """What is wrong with p and q is said before anything else."""
    if check:
        try:
            check()
        except Exception as error:
            raise error from None


def _on_gpu(space_or_cost: Any) -> Any:
    """A cost matrix that lies on a GPU; one on the host serves all."""
    return space_or_cost if devices.framework(space_or_cost, "space_or_cost") else None


def _on_host(cost: Any) -> Any:
    """A cost matrix where it is checked."""
    framework = devices.framework(cost, "space_or_cost")
    if framework == "torch":
        return cost.cpu().numpy()
    return getattr(cost, {"cupy": "get", "numba": "copy_to_host"}[framework])() if framework else cost


def _check_device(form: Any, variant: str, unrolled: bool) -> None:
    """Refuse what the CPU alone computes."""
    for asked, name in (
        (unrolled, "unrolled=True"),
        (VARIANTS[variant].relaxation > 1, f'variant="{variant}"'),
        (form, f'dtype="{form.dtype}"' if form else ""),
    ):
        if asked:
            raise ValueError(f"{name} is computed on the CPU alone: give arrays on the host and leave device=None")


def _reported(
    results: dict[int, SinkhornResult],
    max_iter: int,
    stops: Sequence[int],
    shape: tuple[int, ...],
    error: Any,
    tol: Any,
) -> SinkhornResult:
    result = results[max_iter]
    _report(result, shape, error, tol)
    return with_checkpoints(result, {k: results[k] for k in stops})


def variant_of(name: object) -> Variant:
    """What a name stands for."""
    if not isinstance(name, str) or name not in VARIANTS:
        raise ValueError(f"variant={shown(name)} is not one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _report(result: SinkhornResult, shape: tuple[int, ...], error: Any, tol: Any) -> None:
    """One warning for whatever went wrong."""
    status = np.ravel(result.status)
    if not tol and (status == "iteration_limit").all():
        return
    error, at, bins = map(np.ravel, (error, result.failed_at, result.failed_bin))
    failed = failures.described(status, at, bins, shape)
    slow, blurred = np.flatnonzero((status == "iteration_limit") & bool(tol)), np.flatnonzero(status == "unresolved")
    some = blurred if len(blurred) else slow
    first = f", the first {validation.row_name(some[0], shape)}" if len(some) and shape else ""
    dtype = str(result.marginal_error.dtype).rpartition(".")[2]  # torch.float32 is one
    finer = "float64 or " if dtype == "float32" else ""
    if failed:
        text = f'{failed}: do not trust their values, use domain="log", float64 or a smaller lam'
    elif len(blurred):
        text = (
            f"{len(blurred)} of {len(status)} rows are unresolved{first}: {dtype} rounds logarithms as large as theirs "
            f"so far that masses, value and marginal_error are off by percents; use {finer}a smaller lam"
        )
    elif len(slow):
        text = (
            f"{len(slow)} of {len(status)} rows did not reach tol={tol!r} in max_iter iterations{first} with marginal "
            f"error {error[slow[0]]:.3g}: raise max_iter or tol"
        )
    else:
        return
    warnings.warn(text, RuntimeWarning, stacklevel=4)
