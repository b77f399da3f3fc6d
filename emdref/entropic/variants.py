"""Published forms of Algorithm 1 of arXiv 1611.07573: a small record of switches each, never a loop of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emdref.entropic.relaxation import LARGEST


@dataclass(frozen=True)
class Variant:
    """What distinguishes one published form of Algorithm 1 from another."""

    shift: int  # K = exp(-lam M - shift)
    start: Literal["ones", "count", "inverse"]  # u_0 = 1, N or 1/N in every bin
    drops_empty: bool  # bins with p = 0 leave the problem before the first iteration
    refreshes_v: bool  # v is taken from the last u (else from the u before it)
    value: Literal["cost", "objective"]  # <T, M>, or <T, M> + <T, log T> / lam
    centred: bool  # the gradient's mean over the bins with p > 0 is removed
    relaxation: float = 1.0  # the largest exponent w of u <- u^(1-w) (p / (K v))^w


VARIANTS = {
    "paper": Variant(1, "ones", False, True, "cost", False),
    "frogner": Variant(1, "ones", False, True, "cost", True),
    "cuturi": Variant(0, "count", True, True, "cost", False),
    "caffe": Variant(1, "ones", False, False, "objective", True),
    "mocha": Variant(0, "inverse", False, True, "cost", False),
    "overrelaxed": Variant(1, "ones", False, True, "cost", False, LARGEST),
}
