"""The public functions of a batch of pairs on a GPU: input moved or taken as it is, computed there, given back."""

from __future__ import annotations

from typing import Any

from emdref.arguments import containers, gauges, validation
from emdref.arguments.devices import Place
from emdref.closed_form import batches, sparse_rows
from emdref.gpu import closed_form
from emdref.gpu.call import Call
from emdref.gpu.histograms import DeviceBatch
from emdref.gpu.results import check_apart
from emdref.spaces.space import rooted

_STACK = 6  # frames from a warning to the caller of a public function


def value_and_grad(
    place: Place, p: Any, q: Any, space: Any, rho: float, mass: str, accuracy: str, gauge: int | None,
    outs: dict[str, tuple[Any, str]],
) -> dict[str, Any]:  # fmt: skip
    """`emdref.emd`, `emd_grad` or both, whatever `outs` has a place for: "value", "gradient"."""
    rho = validation.exponent(rho)
    check_apart(outs)
    with _call("emd", place, space, mass, accuracy, p=p, q=q) as call:
        batch = _batch(call, p, q, None, space, mass, accuracy, gauge)
        call.outs = outs
        results = closed_form.value_and_grad(call, batch, space, rho, mass, accuracy, gauge, "value" in outs)
        return _given(call, batch, dict(zip(("value", "gradient"), results, strict=True)))


def flow(place: Place, p: Any, q: Any, space: Any, mass: str, accuracy: str) -> Any:
    """`emdref.flow`."""
    with _call("flow", place, space, mass, accuracy, p=p, q=q) as call:
        batch = _batch(call, p, q, None, space, mass, accuracy, None)
        return _given(call, batch, {"flow": closed_form.flow(call, batch, space, mass, accuracy)})["flow"]


def cost_grad(place: Place, p: Any, q: Any, space: Any, rho: float, mass: str, accuracy: str) -> Any:
    """`emdref.emd_cost_grad`."""
    with _call("emd_cost_grad", place, space, mass, accuracy, p=p, q=q) as call:
        batch = _batch(call, p, q, None, space, mass, accuracy, None)
        result = closed_form.cost_grad(call, batch, space, rho, mass, accuracy)
        return _given(call, batch, {"derivative by costs": result})["derivative by costs"]


def second(place: Place, p: Any, q: Any, v: Any, space: Any, rho: float, mass: str, accuracy: str, gauge: int) -> Any:
    """`emdref.emd_hess`, or with a direction `emdref.emd_hvp`."""
    with _call("emd_hess", place, space, mass, accuracy, p=p, q=q, v=v) as call:
        batch = _batch(call, p, q, v, space, mass, accuracy, gauge)
        compute, what = (closed_form.hess, "Hessian") if v is None else (closed_form.hvp, "product")
        return _given(call, batch, {what: compute(call, batch, space, rho, mass, accuracy, gauge)})[what]


def _call(function: str, place: Place, space: Any, mass: str, accuracy: str, **given: Any) -> Call:
    batches.check_options(space, mass, accuracy)
    rooted(space, f"{function} on a GPU", "sums along edges", "give arrays on the host and leave device=None")
    containers.check_labels(given, space)
    for name, x in given.items():
        sparse_rows.refuse(x, name)
    return Call(place, **given)


def _batch(call: Call, p: Any, q: Any, v: Any, space: Any, mass: str, accuracy: str, gauge: int | None) -> DeviceBatch:
    divided = accuracy == "native" and (mass == "normalize" or gauge == gauges.NORMALIZED)
    return call.batch(p, q, space.n_bins, v, native_totals=divided)


def _given(call: Call, batch: DeviceBatch, results: dict[str, Any]) -> dict[str, Any]:
    """Results as the caller gets them, and one warning if any of them is beyond the dtype."""
    results = {what: x for what, x in results.items() if x is not None}
    for what, x in results.items():
        if x.may_be_beyond and x.size:
            count, nans, first = call.beyond(x)
            if count:
                batches.say_beyond(what, count, nans, validation.row_name(first, batch.shape), x.dtype, _STACK)
                break
    return {what: x.given() for what, x in results.items()}
