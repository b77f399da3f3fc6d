"""Derivatives of the truncated Sinkhorn iteration with respect to p, walked backwards; q, K and u_0 are held.

With v_t = q / (K^T u_{t-1}) and u_t = p / (K v_t), let phi_t be the derivative with respect to log u_t, divided
by p, and gamma_t that with respect to log v_t, divided by q, with all that follows from them.  Then

    gamma_t = -K^T(u_t phi_t) / (K^T u_{t-1}),    phi_{t-1} = -K(v_t gamma_t) / (K v_{t-1}),

and p enters by log u_t = log p - log(K v_t) alone, so that the derivative is the sum of all phi_t:
p divides nothing, and the sum is finite where p is 0.  Each line averages values of either sign, weighted by the plan.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.gibbs import Plan, over_bins
from emdref.entropic.variants import Variant

Array = NDArray[Any]


class Unrolled(NamedTuple):
    r"""Partial derivatives of a truncated Sinkhorn run with respect to p: see `SinkhornResult`.

    .. math:: \frac{\partial}{\partial p_i} \langle T, M \rangle, \qquad
       \frac{\partial}{\partial p_i} \left( \langle T, M \rangle + \frac{1}{\lambda} \langle T, \log T \rangle \right)

    Attributes
    ----------
    value, objective : (..., N) arrays
        The derivatives of the result's `value` and of its `objective`.
    """

    value: Any
    objective: Any


class Tape:
    """What a run leaves behind to be walked backwards: v after every so many iterations, some sqrt(2 k) times in all.

    Arrays are (N, rows), as in the run, or (N, 2, rows) where cost and objective are carried side by side.
    """

    def __init__(self, plan: Plan, p: Array, q: Array, share: Array, lam: Any, switches: Variant) -> None:
        self.plan, self.domain, self.lam, self.switches = plan, plan.domain, lam, switches
        self.p, self.q, self.share = p, q, share  # q once more as plain numbers, over its total
        self.kept: dict[int, tuple[Array, Array]] = {}
        self.stride = 1

    def next(self, done: int) -> int:
        """The first iteration after `done` that is to be kept."""
        return done + 1 + -done % self.stride

    def record(self, it: int, active: Array, v: Array) -> None:
        """v of the rows that still run, in iteration `it`."""
        if (it - 1) % self.stride == 0:
            self.kept[it] = active, v.copy()
        if len(self.kept) > 2 * self.stride:
            self.stride *= 2
            self.kept = {t: x for t, x in self.kept.items() if (t - 1) % self.stride == 0}

    def derivatives(self, u: Array, v: Array, ktu: Array, n_iter: Array) -> Unrolled:
        """Of the results after each row's own number of iterations, (rows, N)."""
        phi, gamma = self._refreshed(u, v, ktu) if self.switches.refreshes_v else self._unrefreshed(u, v, ktu)
        end = n_iter.max(initial=0)
        for start in sorted(self.kept, reverse=True):
            if start < end:
                self._back(start, end, phi, gamma, n_iter)
                end = start
        empty = self.domain.vanished(self.p)
        phi[:, -1][empty] = -np.inf
        if self.switches.drops_empty:
            phi[np.broadcast_to(empty[:, None], phi.shape)] = 0
        first = 0 if self.switches.value == "cost" else -1
        return Unrolled(*(np.array(phi[:, i].T, order="C") for i in (first, -1)))

    def _refreshed(self, u: Array, v: Array, ktu: Array) -> tuple[Array, Array]:
        """phi and gamma of the last iteration where another v follows it."""
        plan, domain = self.plan, self.domain
        fresh, kv, (f, _) = domain.divide(self.q, ktu), plan.times(v), self._centred(u, self.p)
        k_fresh = plan.times(fresh)
        by_row = np.stack([domain.ratio(plan.moments(fresh), k_fresh), f], axis=1)
        mean_f = domain.averages(plan.transposed, u, f, ktu)
        by_column = np.stack([domain.ratio(plan.moments_transposed(u), ktu), mean_f], axis=1)
        phi = by_row - domain.averages(plan.times, fresh, by_column, k_fresh)
        phi *= domain.ratio(k_fresh, kv)[:, None]
        return phi, self._gamma(u, v, phi, slice(None))

    def _unrefreshed(self, u: Array, v: Array, ktu: Array) -> tuple[Array, Array]:
        """phi and gamma of the last iteration where v comes from before the last u; the value is the objective then."""
        plan, domain, shift = self.plan, self.domain, self.switches.shift
        f, (g, level) = domain.to_log(u) / self.lam, self._centred(v, self.q)
        mean_g = domain.averages(plan.times, v, g, plan.times(v))
        phi = f + (1 - shift) / self.lam + level + mean_g
        before = domain.divide(self.q, v)
        gamma = domain.ratio(ktu, before) * g - domain.averages(plan.transposed, u, mean_g, before)
        return phi[:, None], self._balanced(gamma[:, None], slice(None))

    def _centred(self, x: Array, mass: Array) -> tuple[Array, Array]:
        """log x / lam less its mean over the bins with mass (0 elsewhere), and that mean."""
        log, kept = self.domain.to_log(x) / self.lam, ~self.domain.vanished(mass)
        mean = over_bins(np.where(kept, log, 0)) / over_bins(kept.astype(log.dtype))
        return np.where(kept, log - mean, 0), mean

    def _gamma(self, u: Array, v: Array, phi: Array, at: Any) -> Array:
        before = self.domain.divide(self.q[:, at], v)
        return self._balanced(-self.domain.averages(self.plan.transposed, u, phi, before), at)

    def _balanced(self, gamma: Array, at: Any) -> Array:
        """Without its mean under q: only rounding puts it there (a factor of u, 1/v changes no plan), and it stays."""
        share = self.share[:, None, at]
        return gamma - over_bins(np.where(share == 0, 0, share * gamma))

    def _back(self, start: int, end: int, total: Array, gamma: Array, n_iter: Array) -> None:
        """Add phi of the iterations from `start` to `end` to the total, and leave gamma of the first of them."""
        rows = np.flatnonzero(n_iter > start)
        past = self._again(start, end, rows)
        v, kv = past.pop()
        for t in range(end, start, -1):
            (v, kv), later_v, later_kv = past.pop(), v, kv
            now, at = _chosen(n_iter[rows] >= t), _chosen(n_iter >= t)
            phi = self.domain.averages(self.plan.times, later_v[:, now], gamma[..., at], later_kv[:, now])
            phi *= -self.domain.ratio(later_kv[:, now], kv[:, now])[:, None]
            total[..., at] += phi
            if t > 2:  # u_0 is held
                u = self.domain.divide(self.p[:, at], kv[:, now])
                gamma[..., at] = self._gamma(u, v[:, now], phi, at)

    def _again(self, start: int, end: int, rows: Array) -> list[tuple[Array, Array]]:
        """(v, K v) of these rows in the iterations from `start` to `end`, all of which are done again but the first."""
        active, v = self.kept[start]
        p, q = self.p[:, rows], self.q[:, rows]
        v = v[:, np.searchsorted(active, rows)]
        past = [(v, self.plan.times(v))]
        for _ in range(start, end):
            u = self.domain.divide(p, past[-1][1])
            v = self.domain.divide(q, self.plan.transposed(u))
            past.append((v, self.plan.times(v)))
        return past


def _chosen(rows: Array) -> Any:
    """An index for these rows that copies nothing if it is all of them."""
    return slice(None) if rows.all() else rows
