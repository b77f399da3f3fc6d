"""The training loop: steps, measurements on the way, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from analysis.engine.cells import Rows
from analysis.experiments.training import processes
from analysis.experiments.training.checkpoints import Checkpoint

EVERY = 5.0  # seconds between checkpoints
DIVERGED = "diverged"


@dataclass
class Task:
    """What is trained, on what, and what is measured; model, inputs and targets lie on one device."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]  # of outputs and targets
    measure: Callable[[nn.Module], dict[str, float]]
    batch: int
    steps: int
    at: Collection[int]  # steps at which it is measured
    seed: int
    rate: Callable[[int], float] | None = None  # of a step; None: the optimizer's own throughout

    def batches(self, step: int) -> Tensor:
        """The samples of a step: each epoch goes through all once, in an order of its own."""
        epoch, place = divmod(step, len(self.inputs) // self.batch)
        order = _order(len(self.inputs), self.seed, epoch)
        return order[place * self.batch : (place + 1) * self.batch].to(self.inputs.device)


@lru_cache(maxsize=1)
def _order(samples: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


def cosine(rate: float, steps: int) -> Callable[[int], float]:
    """From `rate` down to 0 at the end, half a cosine (Loshchilov and Hutter 2017, Eq. 5, without restarts).

    >>> [round(cosine(0.8, 4)(step), 3) for step in range(5)]
    [0.8, 0.683, 0.4, 0.117, 0.0]
    """
    return lambda step: rate * (1 + math.cos(math.pi * step / steps)) / 2


def train(task: Task, checkpoint: Checkpoint | None, title: str) -> Rows:
    """A row for each measurement: step, epoch and what `measure` says; a last one with status ``diverged`` if it did.

    The rows are the same bits whether the run was interrupted or not; without a checkpoint it begins anew.
    """
    torch.set_num_threads(1)
    rows, first = _restored(task, checkpoint)
    saved = time.monotonic()
    for step in range(first, task.steps + 1):
        processes.tell(step, task.steps, title)
        if checkpoint and time.monotonic() > saved + EVERY:
            checkpoint.save(_state(task, step, rows))
            saved = time.monotonic()
        if step in task.at:
            rows.append(_measured(task, step))
        if step < task.steps and not _update(task, step):
            rows.append(_row(task, step, DIVERGED))
        if rows and rows[-1]["status"] == DIVERGED:
            break
    if checkpoint:
        checkpoint.remove()
    return rows


def _restored(task: Task, checkpoint: Checkpoint | None) -> tuple[Rows, int]:
    """The rows so far and the step to go on with."""
    state = checkpoint.load() if checkpoint else None
    if state is None:
        return [], 0
    task.model.load_state_dict(state["model"])
    task.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return json.loads(state["rows"]), state["step"]


def _state(task: Task, step: int, rows: Rows) -> dict[str, Any]:
    """Before the step's measurement and update."""
    return {
        "step": step,
        "rows": json.dumps(rows, default=lambda x: x.item()),
        "model": task.model.state_dict(),
        "optimizer": task.optimizer.state_dict(),
        "random": torch.get_rng_state(),
    }


def _measured(task: Task, step: int) -> dict[str, Any]:
    if not all(bool(torch.isfinite(x).all()) for x in task.model.parameters()):
        return _row(task, step, DIVERGED)
    task.model.eval()
    with torch.no_grad():
        found = task.measure(task.model)
    task.model.train()
    return _row(task, step, "ok", **found)


def _row(task: Task, step: int, status: str, **found: float) -> dict[str, Any]:
    return {"step": step, "epoch": step / (len(task.inputs) // task.batch), "status": status, **found}


def _update(task: Task, step: int) -> bool:
    """One step of the optimizer, unless outputs or loss are no longer finite."""
    samples = task.batches(step)
    if task.rate is not None:
        for group in task.optimizer.param_groups:
            group["lr"] = task.rate(step)
    outputs = task.model(task.inputs[samples])
    if not torch.isfinite(outputs.detach().sum()):  # a sixth of a step's time less than asking each of them
        return False
    loss = task.loss(outputs, task.targets[samples])
    if not torch.isfinite(loss):
        return False
    task.optimizer.zero_grad()
    loss.backward()
    task.optimizer.step()
    return True
