"""One run of both papers' breathing experiment: a network trained under a loss at a rate, and what is measured of it.

Adam's rate falls to 0 like a cosine over the whole length.  A run may be ended early, for what is said of speed: it
has the same bits up to there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import emdref
from analysis.engine.cells import Cell, Rows
from analysis.experiments.breathing import cohort, spectra
from analysis.experiments.breathing.spectra import BINS, Clips
from analysis.experiments.training.processes import apart

BATCH = 64
TESTED, CHOOSING = 15 / 75, 10 / 75  # of the subjects: the papers' split; those kept back to choose the rate
SIMULATED = "simulated"
FEW = 500  # clips whose gradients are summed; clips trained on whose loss is followed
LEAST = 1e-30  # in each bin of what is measured: an output of nothing counts as one that is even
CHAIN = emdref.Chain(BINS)


def trained(run: str, **parameters: Any) -> Rows:
    """The rows of one cell, computed in a process of its own."""
    return apart(train, run=run, parameters=parameters)


def data(source: dict[str, Any]) -> Clips:
    """The same clips for all runs: the simulated cohort, or recordings."""
    return _data(*source.items())


@lru_cache(maxsize=1)
def _data(*source: tuple[str, Any]) -> Clips:
    where = dict(source)
    if "records" not in where:
        return cohort.cohort(where["subjects"], where["each"], where["seed"])
    from analysis.experiments.breathing import records

    channels = {role: where[role] for role in ("chest", "nose") if where[role]}
    return records.read(Path(where["records"]), **channels)


def parts(clips: Clips, seed: int) -> tuple[Clips, Clips, Clips]:
    """Clips to train on, to choose the rate by, to test on, by subjects: none is split, and each part has one at least.

    Tested are a fifth of the subjects, as in the papers; 10 of 75 choose.

    >>> import numpy as np
    >>> clips = Clips(np.zeros((10, 600)), np.zeros((10, 30)), np.repeat(np.arange(5), 2))
    >>> [len(set(part.subject)) for part in parts(clips, 0)]
    [3, 1, 1]
    """
    subjects = np.unique(clips.subject)
    if len(subjects) < 3:
        raise RuntimeError(
            f"{len(subjects)} subjects cannot be split into training, choosing and testing: 3 are needed"
        )
    subjects = np.random.default_rng([seed, 60_15]).permutation(subjects)
    tested, choosing = (max(int(share * len(subjects) + 1e-9), 1) for share in (TESTED, CHOOSING))
    return tuple(clips.of(some) for some in np.split(subjects, [-tested - choosing, -tested]))


def measured(each: int, epochs: int) -> list[int]:
    """Steps of measurements, `each` to an epoch: the papers see losses part within the first epoch."""
    first = {0, *(int(x) for x in np.geomspace(1, each, 9).round())}
    later = {each * min(epoch, epochs) for epoch in (2, 3, 5, 8, round(0.6 * epochs), round(0.8 * epochs), epochs)}
    return sorted(first | later)


def train(run: str, parameters: dict[str, Any], loss: Callable[[Any, Any], Any] | None = None) -> Rows:
    """The rows of one run: what it is, and at each measurement both errors, the output's total and the gradient's sum.

    The errors are of the subjects tested, of those that choose the rate, and of a few of the clips trained on.
    """
    import torch

    from analysis.experiments.breathing import networks
    from analysis.experiments.training.checkpoints import Checkpoint
    from analysis.experiments.training.loop import Task, cosine
    from analysis.experiments.training.loop import train as loop
    from analysis.experiments.training.torch_extra import device

    name, rate, seed = (parameters[name] for name in ("loss", "rate", "seed"))
    epochs, until = parameters["epochs"], parameters["until"]
    loss = loss or networks.LOSSES[name]
    training, choosing, testing = parts(data(parameters["source"]), seed)
    where, batch = device(), min(BATCH, len(training.chest))
    each = len(training.chest) // batch
    torch.manual_seed(seed)
    model = getattr(networks, parameters["network"])().to(where)
    held = {"": _on(where, testing), "choosing_": _on(where, choosing), "train_": _on(where, _few(training))}
    task = Task(
        model,
        torch.optim.Adam(model.parameters(), lr=rate, fused=True),
        *_on(where, training),
        loss,
        lambda network: _measure(network, loss, held),
        batch,
        until * each,
        {step for step in measured(each, epochs) if step <= until * each},
        seed,
        cosine(rate, epochs * each),
    )
    rows = loop(task, Checkpoint(Cell(run, parameters)), f"{name}, rate {rate:g}, seed {seed}")
    folder = parameters["source"].get("records")
    common = {
        "part": "training",
        "data": f"records {Path(folder).name}" if folder else SIMULATED,
        "device": where,
        "subjects": len(set(testing.subject)),
        "loss": name,
        "rate": rate,
        "seed": seed,
        "until": until,
    }
    without = _guesses(training, testing)
    return [{**common, **row, **without} for row in rows]


def _few(clips: Clips) -> Clips:
    step = max(len(clips.chest) // FEW, 1)
    return Clips(*(part[::step] for part in clips))


def _on(where: str, clips: Clips) -> tuple[Any, Any]:
    import torch

    return torch.tensor(clips.chest, device=where), torch.tensor(clips.psd, device=where)


def _measure(model: Any, loss: Callable[[Any, Any], Any], held: dict[str, tuple[Any, Any]]) -> dict[str, float]:
    from analysis.experiments.breathing.networks import gradient_sums

    found: dict[str, float] = {}
    for name, (x, q) in held.items():
        p = outputs(model, x)
        found |= {f"{name}{measure}": value for measure, value in errors(p.cpu().numpy(), q.cpu().numpy()).items()}
        if name == "train_":
            found["train_loss"] = float(loss(p, q))
        if name == "":
            few = slice(None, None, max(len(p) // FEW, 1))
            found |= {"total": float(p.sum(dim=1).median()), **gradient_sums(loss, p[few], q[few])}
    return {name: value for name, value in found.items() if name not in ("choosing_emd2", "train_emd2")}


def outputs(model: Any, x: Any) -> Any:
    """Of all clips, a few at a time: what they need in between stays in the processor's cache."""
    import torch

    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(BATCH)])


def errors(p: Any, q: Any) -> dict[str, float]:
    """Means over clips: the distance of the largest peaks, breaths per minute; EMD and EMD^2 of p / |p| from q, bins.

    >>> p, q = np.eye(30)[[3, 4]], np.eye(30)[[3, 6]]
    >>> errors(5 * p, q)
    {'error': 1.0, 'emd': 1.0, 'emd2': 1.0}
    """
    p, q = (x.astype(float) + LEAST for x in (p, q))
    p, q = (x / x.sum(axis=1, keepdims=True) for x in (p, q))
    peaks = float(np.abs(spectra.peak(p) - spectra.peak(q)).mean())
    return {"error": peaks} | {
        name: float(emdref.emd(p, q, CHAIN, rho).mean()) for name, rho in (("emd", 1), ("emd2", 2))
    }


def _guesses(training: Clips, testing: Clips) -> dict[str, float]:
    """The errors without learning: of the training subjects' median rate and mean spectrum, and of the chest's own."""
    found = {"chest": errors(spectra.spectrum(testing.chest), testing.psd)}
    found["constant"] = errors(np.broadcast_to(training.psd.mean(axis=0), testing.psd.shape), testing.psd)
    median = np.median(spectra.peak(training.psd))
    found["constant"]["error"] = float(np.abs(spectra.peak(testing.psd) - median).mean())
    return {f"{name}_{measure}": each[measure] for name, each in found.items() for measure in ("error", "emd")}
