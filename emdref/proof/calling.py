"""How to call somebody else's function: which arrays it takes, in which shape, and what it gives back.

Tried in this order, until one call gives an answer: NumPy arrays; then those of the frameworks that the caller has
imported, torch (with gradients recorded, then without), JAX, CuPy; each as (N,) and as a batch of one, (1, N).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import containers
from emdref.arguments.messages import cut, shown

FRAMEWORKS = ("numpy", "torch", "jax", "cupy")


class Answer(NamedTuple):
    """What one call gave: a value, a gradient with respect to p, or both; or a transport plan."""

    value: np.floating[Any] | None
    grad: NDArray[Any] | None
    changed_input: bool = False
    plan: NDArray[Any] | None = None


Ask = Callable[[NDArray[Any], NDArray[Any]], "Answer | str"]  # an answer, or how the call failed


@dataclass(frozen=True)
class Convention:
    """One way to call a function."""

    framework: str
    batched: bool = False  # (1, N) instead of (N,)
    recorded: bool = False  # torch: p requires a gradient, and a value alone is differentiated
    plans: bool = False  # N x N numbers are a transport plan

    def __str__(self) -> str:
        shape = "(1, N)" if self.batched else "(N,)"
        return f"{self.framework} arrays of shape {shape}" + (", differentiated by autograd" if self.recorded else "")

    def call(self, function: Callable[..., Any], p: NDArray[Any], q: NDArray[Any]) -> Answer:
        """The function's answer for one pair; whatever it raises is raised."""
        given = [self._enter(x[None] if self.batched else x) for x in (p, q)]
        if self.recorded:
            given[0].requires_grad_(True)
        answer = self._answer(function(*given), given[0], len(p))
        after = [leave(x).reshape(-1) for x in given]
        return answer._replace(changed_input=not all(map(_same, after, (p, q))))

    def _enter(self, x: NDArray[Any]) -> Any:
        """A copy, so that nothing the function does to it matters."""
        x = np.array(x)
        if self.framework == "torch":
            return sys.modules["torch"].from_numpy(x)
        if self.framework == "jax":
            y = sys.modules["jax"].numpy.asarray(x)
            if y.dtype != x.dtype:
                raise TypeError(f'JAX turned {x.dtype} into {y.dtype}: set "jax_enable_x64", or check in float32')
            return y
        return sys.modules["cupy"].asarray(x) if self.framework == "cupy" else x

    def _answer(self, result: Any, p: Any, n: int) -> Answer:
        parts = result if isinstance(result, tuple) else (result,)
        if len(parts) not in (1, 2):
            raise TypeError(f"it returned a tuple of {len(parts)}: give a value, a gradient, or (value, gradient)")
        if len(parts) == 1 and self.recorded:
            parts = self._differentiated(parts[0], p, n)
        arrays = [leave(x) for x in parts]
        if len(arrays) == 2:
            return Answer(_value(arrays[0]), _gradient(arrays[1], n))
        x = arrays[0]
        if self.plans and n > 1 and x.shape[-2:] == (n, n) and x.size == n * n:
            return Answer(None, None, plan=x.reshape(n, n))
        return Answer(None, _gradient(x, n)) if self._is_gradient(x, n) else Answer(_value(x), None)

    def _is_gradient(self, x: NDArray[Any], n: int) -> bool:
        """By its shape; one number for one bin is a value, unless it has the shape of the batch."""
        return x.size == n and (n > 1 or x.ndim == 1 + self.batched)

    def _differentiated(self, value: Any, p: Any, n: int) -> tuple[Any, ...]:
        if not getattr(value, "requires_grad", False) or value.numel() != 1:
            return (value,)  # it cut the graph, or it returned a gradient
        (grad,) = sys.modules["torch"].autograd.grad(value.reshape(()), p, allow_unused=True)
        return (value,) if grad is None else (value, grad)


def find(
    function: Callable[..., Any],
    pairs: list[tuple[NDArray[Any], NDArray[Any]]],
    framework: str | None,
    plans: bool = False,
) -> Convention:
    """The first convention under which the function answers one of these pairs, or a TypeError with what each gave."""
    if framework is not None and not (isinstance(framework, str) and framework in FRAMEWORKS):
        raise ValueError(f"framework={shown(framework)} is not one of None, {', '.join(FRAMEWORKS)}")
    if framework not in (None, "numpy") and framework not in sys.modules:
        raise ValueError(f"framework={shown(framework)} is not imported: import it first")
    failures: dict[str, Convention] = {}  # the first way that failed so
    for convention in _conventions(framework, plans):
        for p, q in pairs:
            try:
                convention.call(function, p, q)
            except Exception as error:  # a foreign function may raise anything
                failures.setdefault(cut(short(error), 120), convention)
            else:
                return convention
    text = "function gave no answer for an ordinary pair, whatever it was called with:"
    for number, (failure, way) in enumerate(failures.items()):
        line = f"\n  {way}: {failure}"
        if len(text) + len(line) > 280:
            text += f"\n  and {len(failures) - number} more"
            break
        text += line
    raise TypeError(text)


def asker(function: Callable[..., Any], convention: Convention) -> Ask:
    """Calls that return how they failed instead of raising."""

    def ask(p: NDArray[Any], q: NDArray[Any]) -> Answer | str:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return convention.call(function, p, q)
        except Exception as error:  # a foreign function may raise anything
            return short(error)

    return ask


def _conventions(framework: str | None, plans: bool) -> Iterator[Convention]:
    for name in [framework] if framework else [x for x in FRAMEWORKS if x == "numpy" or x in sys.modules]:
        for recorded in (True, False) if name == "torch" else (False,):
            for batched in (False, True):
                yield Convention(name, batched, recorded, plans)


def short(error: BaseException) -> str:
    """An exception in one line."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:200] if first else ''}"


def leave(x: Any) -> NDArray[Any]:
    """Any framework's array, or a number, as a NumPy array."""
    containers.refuse_masked(x, "what it returned")
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x
    elif hasattr(x, "get") and hasattr(x, "__cuda_array_interface__"):
        x = x.get()
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"it returned {type(x).__name__} of {array.dtype}: give a value, a gradient, or both as a tuple"
        )
    return array


def _value(x: NDArray[Any]) -> np.floating[Any]:
    if x.size != 1:
        raise TypeError(f"it returned an array of shape {x.shape}, neither one value nor one entry a bin")
    scalar: Any = x.reshape(())[()]
    return scalar


def _gradient(x: NDArray[Any], n: int) -> NDArray[Any]:
    if x.size != n:
        raise TypeError(f"its gradient has shape {x.shape}, expected one entry for each of {n} bins")
    return x.reshape(n)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool((a == b).all())
