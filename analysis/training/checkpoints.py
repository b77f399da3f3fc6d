"""Where a training run stands, kept on disk until it is done: a run that was killed goes on from there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from analysis.cells import Cell
from emdref.kernels.jit import cache_folder


class Checkpoint:
    """A file for the state of one cell's run, named after its parameters and the code's version.

    It lies in the user's cache folder for emdref, so that it outlives the process and gets into nobody's way; there is
    none where there is no such folder (``EMDREF_CACHE_DIR=off``).
    """

    def __init__(self, cell: Cell) -> None:
        folder = cache_folder()
        self.path = folder / "runs" / f"{cell.key()}.pt" if folder else None

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None if there is nothing that can be read."""
        if self.path is None or not self.path.exists():
            return None
        try:
            return torch.load(self.path, weights_only=True)
        except Exception:  # whatever a file that is damaged makes torch raise: the run begins again
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file as a whole."""
        if self.path is None:
            return
        self.path.parent.mkdir(exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}")
        torch.save(state, part)
        Path(part).replace(self.path)

    def remove(self) -> None:
        """The run is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
