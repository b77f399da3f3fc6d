"""The training loop: steps, measurements on the way, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from analysis.cells import Rows
from analysis.training import processes
from analysis.training.checkpoints import Checkpoint

EVERY = 5.0  # seconds between checkpoints


@dataclass
class Task:
    """What is trained, on what, and what is measured."""

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

    def batches(self, step: int) -> Tensor:
        """The samples of a step: each epoch goes through all once, in an order of its own."""
        each = len(self.inputs) // self.batch
        epoch, place = divmod(step, each)
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(1_000_003 * self.seed + epoch))
        return order[place * self.batch : (place + 1) * self.batch]


def train(task: Task, checkpoint: Checkpoint, title: str) -> Rows:
    """A row for each measurement: step, epoch and what `measure` says; a last one with status ``diverged`` if it did."""
    state = checkpoint.load() or {"step": 0, "rows": []}
    rows, first = list(state["rows"]), state["step"]
    if first:
        task.model.load_state_dict(state["model"])
        task.optimizer.load_state_dict(state["optimizer"])
    saved = time.monotonic()
    bar = tqdm(total=task.steps, initial=first, desc=title, position=processes.place, leave=False, mininterval=1)
    with bar:
        for step in range(first, task.steps + 1):
            if time.monotonic() > saved + EVERY:
                checkpoint.save(_state(task, step, rows))
                saved = time.monotonic()
            if step in task.at:
                rows.append(_measured(task, step))
            if step < task.steps and not _update(task, step):
                rows.append({"step": step, "status": "diverged"})
                break
            bar.update()
    checkpoint.remove()
    return rows


def _state(task: Task, step: int, rows: Rows) -> dict[str, Any]:
    """Before the step's measurement and update."""
    optimizer = task.optimizer.state_dict()
    return {"step": step, "rows": rows, "model": task.model.state_dict(), "optimizer": optimizer}


def _measured(task: Task, step: int) -> dict[str, Any]:
    task.model.eval()
    with torch.no_grad():
        found = task.measure(task.model)
    task.model.train()
    return {"step": step, "epoch": step * task.batch / len(task.inputs), "status": "ok", **found}


def _update(task: Task, step: int) -> bool:
    """One step of the optimizer, unless outputs or loss are no longer finite."""
    samples = task.batches(step)
    outputs = task.model(task.inputs[samples])
    if not torch.isfinite(outputs).all():
        return False
    loss = task.loss(outputs, task.targets[samples])
    if not torch.isfinite(loss):
        return False
    task.optimizer.zero_grad()
    loss.backward()
    task.optimizer.step()
    return True
