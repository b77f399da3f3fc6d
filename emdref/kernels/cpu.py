"""Loops over rows on CPU threads: these map row formulas onto a batch and own the scratch memory, nothing else.

Rows are dealt to threads in contiguous blocks and each row is computed by itself, so that a result depends neither on
the batch around it nor on the number of threads.  The threads are Python's own: the kernels release the GIL, and unlike
Numba's thread pool these may be used from any number of callers at once.
"""

import contextlib
import contextvars
import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from emdref import gauges
from emdref.kernels import native, twolimb
from emdref.kernels.floats import div2, mul2
from emdref.kernels.jit import loop, row

_RAW, _ZERO_SUM, _SCALED, _NORMALIZED = gauges.RAW, gauges.ZERO_SUM, gauges.SCALED, gauges.NORMALIZED
_SERIAL_WORK = 200_000  # row elements below which starting threads costs more than it saves
_limit = contextvars.ContextVar("emdref_threads", default=0)


@contextlib.contextmanager
def threads(count: int):
    """Use at most `count` threads within this context (the caller's thread alone)."""
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _thread_count(rows: int, work: int) -> int:
    wanted = _limit.get() or _from_environment() or processors()
    return max(1, min(wanted, rows, work // _SERIAL_WORK + 1))


def _from_environment() -> int:
    text = os.environ.get("EMDREF_NUM_THREADS", "")
    if not text:
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"EMDREF_NUM_THREADS={text!r} must be an integer >= 1, or unset to use all processors")
    return int(text)


def over_rows(kernel, batched, shared=(), *, work=0):
    """Call ``kernel(*batched, *shared)`` with the batched arrays cut into blocks of rows, a block per thread."""
    rows = len(batched[0])
    count = _thread_count(rows, rows * work)
    if count == 1:
        return kernel(*batched, *shared)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda ab: kernel(*(x[ab[0] : ab[1]] for x in batched), *shared), _blocks(rows, count)))
    return None


def over_columns(kernel, columns, args, *, work=0):
    """Call ``kernel(first, last, *args)`` for blocks of columns, a block per thread."""
    count = _thread_count(columns, columns * work)
    if count == 1:
        return kernel(0, columns, *args)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda ab: kernel(*ab, *args), _blocks(columns, count)))
    return None


def _blocks(size, count):
    edges = [size * i // count for i in range(count + 1)]
    return list(pairwise(edges))


@row
def _native_masses(p, q, normalize, a, b):
    """Copy a row into a and b, each divided by its total if asked; returns p's total (1 if not asked)."""
    mass = p.dtype.type(1)
    a[:] = p
    b[:] = q
    if normalize:
        mass = native.total(p)
        a /= mass
        b /= native.total(q)
    return mass


@loop
def flow_native(p, q, phi, parent, bin_node, normalize):
    """phi of each pair of rows in the rows' own dtype, nodes in the kernels' order."""
    a, b = np.empty(p.shape[1], p.dtype), np.empty(p.shape[1], p.dtype)
    for i in range(p.shape[0]):
        _native_masses(p[i], q[i], normalize, a, b)
        native.flow(a, b, parent, bin_node, phi[i])


@loop
def emd_native(p, q, value, grad, parent, cost, bin_node, rho, normalize, gauge):
    """Value and gradient (none if grad has no rows) of each pair in the rows' own dtype."""
    n, zero, one = p.dtype.type(p.shape[1]), p.dtype.type(0), p.dtype.type(1)
    phi = np.empty(parent.shape[0], p.dtype)
    r = np.empty(parent.shape[0], p.dtype)
    a, b = np.empty(p.shape[1], p.dtype), np.empty(p.shape[1], p.dtype)
    for i in range(p.shape[0]):
        mass = _native_masses(p[i], q[i], normalize, a, b)
        native.flow(a, b, parent, bin_node, phi)
        value[i] = native.descend(phi, cost, parent, rho, r)
        if grad.shape[0] == 0:
            continue
        offset, factor = zero, one
        if gauge == _NORMALIZED:
            offset, factor = native.mean_under(a, r, bin_node, native.total(a)), one / mass
        elif gauge != _RAW:
            offset = native.mean_at_bins(r, bin_node, n)
            factor = n if gauge == _SCALED else one
        native.gather(r, bin_node, offset, factor, grad[i])


@row
def _finish(p, h, l, err, cost, parent, bin_node, rho, gauge, rh, rl, value, grad, i):
    """Value and gradient of row i from its settled flow; False if two limbs were not enough."""
    uh, ul, m = twolimb.units(h, l, cost)
    if uh == 0.0:  # nothing flows where it costs
        value[i] = 0.0
        if grad.shape[0] > 0:
            grad[i] = 0.0
        return True
    if not twolimb.power_in_range(uh, rho):
        return False
    value_h, value_l, value_err, r_err = twolimb.descend(h, l, err, cost, parent, rho, uh, ul, m, rh, rl)
    fh, fl, e = twolimb.unit_power(uh, ul, rho, rho)
    value[i] = math.ldexp(mul2(value_h, value_l, fh, fl)[0], e + m)
    if grad.shape[0] > 0:
        _finish_gradient(p, uh, ul, m, bin_node, rho, gauge, rh, rl, grad[i])
    return twolimb.trustworthy(value_h, value_err, rh, r_err)


@row
def _finish_gradient(p, uh, ul, m, bin_node, rho, gauge, rh, rl, grad):
    fh, fl, e = twolimb.unit_power(uh, ul, rho, rho - 1.0)
    oh, ol = 0.0, 0.0
    if gauge == _ZERO_SUM or gauge == _SCALED:
        oh, ol = twolimb.mean_at_bins(rh, rl, bin_node)
    if gauge == _SCALED:
        fh, fl = mul2(fh, fl, float(p.shape[0]), 0.0)
    if gauge == _NORMALIZED:
        mh, ml, _, mass_exp = twolimb.mass2(p)
        oh, ol = twolimb.mean_under(p, mh, ml, mass_exp, rh, rl, bin_node)
        fh, fl = div2(fh, fl, mh, ml)
        e -= mass_exp
    twolimb.gather(rh, rl, bin_node, oh, ol, fh, fl, e + m, grad)


@row
def _settled_flow(p, q, parent, bin_node, normalize, h, l, err):
    if normalize:
        twolimb.flow_normalized(p, q, parent, bin_node, h, l, err)
    else:
        twolimb.flow(p, q, parent, bin_node, h, l, err)
    return twolimb.settle(h, l, err)


@loop
def flow_twolimb(p, q, phi, unsafe, parent, bin_node, normalize):
    """phi of each pair, and whether it must be done again exactly."""
    h = np.empty(parent.shape[0])
    l = np.empty(parent.shape[0])
    err = np.empty(parent.shape[0])
    for i in range(p.shape[0]):
        safe = _settled_flow(p[i], q[i], parent, bin_node, normalize, h, l, err)
        unsafe[i] = not (safe and twolimb.rounds_alone(h, err))
        phi[i] = h


@loop
def emd_twolimb(p, q, value, grad, unsafe, parent, cost, bin_node, rho, normalize, gauge):
    """Value and gradient (none if grad has no rows) of each pair, and whether they must be done again exactly."""
    nodes = parent.shape[0]
    h, l, err = np.empty(nodes), np.empty(nodes), np.empty(nodes)
    rh, rl = np.empty(nodes), np.empty(nodes)
    for i in range(p.shape[0]):
        unsafe[i] = not _settled_flow(p[i], q[i], parent, bin_node, normalize, h, l, err)
        if not unsafe[i]:
            unsafe[i] = not _finish(p[i], h, l, err, cost, parent, bin_node, rho, gauge, rh, rl, value, grad, i)
