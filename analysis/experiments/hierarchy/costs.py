"""What EMD and EMD^2 cost: seconds of the loss and its gradient on a batch as it is trained on, side by side."""

from __future__ import annotations

import time
from typing import Any

from analysis.engine.cells import Cell, Rows
from analysis.experiments.hierarchy.perceptron import BATCH
from emdref import wordnet_tree

COST = "cost"  # the part
RUN = f"{__name__}:measured"
LOSSES = ("EMD", "EMD2")
ROUNDS, CALLS = 25, 8  # each round calls one loss so often, then the other


def cells(toy: bool, seed: int) -> list[Cell]:
    """One, beside which nothing else may run."""
    rounds, calls = (2, 1) if toy else (ROUNDS, CALLS)
    return [Cell(RUN, {"rounds": rounds, "calls": calls, "batch": BATCH, "seed": seed}, weight=2.0, alone=True)]


def measured(rounds: int, calls: int, batch: int, seed: int) -> Rows:
    """Seconds a call of each loss in each round, on one thread."""
    import torch

    from analysis.experiments.hierarchy.losses import losses

    torch.set_num_threads(1)
    tree = wordnet_tree()
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, tree.n_bins, generator=random, requires_grad=True)
    classes = torch.randint(tree.n_bins, (batch,), generator=random)
    every = losses(tree)
    for name in LOSSES:
        _seconds(every[name], logits, classes, 2)  # compiled, and its memory at hand
    return [
        {"part": COST, "size": batch, "loss": name, "seed": place, "status": "ok",
         "seconds": _seconds(every[name], logits, classes, calls)}
        for place in range(rounds)
        for name in (LOSSES if place % 2 else LOSSES[::-1])
    ]  # fmt: skip


def _seconds(loss: Any, logits: Any, classes: Any, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        loss(logits, classes).backward()
        logits.grad = None
    return (time.perf_counter() - start) / calls
