"""Where a training run stands, kept on disk until it is done: a run that was killed goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from analysis.engine.cells import Cell
from emdref.kernels.compile.jit import cache_folder

KEPT = 14 * 24 * 3600  # seconds: a run that nobody has gone on with for so long is forgotten


class Checkpoint:
    """A file for the state of one cell's run, named after its parameters and the code's version.

    It lies in the user's cache folder for emdref, so that it outlives the process and gets into nobody's way; there is
    none where there is no such folder (``EMDREF_CACHE_DIR=off``).  It begins with a digest of the cell and of what
    follows: a file that is damaged, or another cell's, is as good as none.
    """

    def __init__(self, cell: Cell) -> None:
        folder = cache_folder()
        self.key = cell.key()
        self.path = folder / "runs" / f"{self.key}.pt" if folder else None

    def load(self) -> dict[str, Any] | None:
        """What was saved last, on the CPU; None if there is nothing sound."""
        if self.path is None:
            return None
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        if content[:32] != self._digest(content[32:]):
            return None
        return torch.load(BytesIO(content[32:]), map_location="cpu", weights_only=True)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file as a whole; a run that cannot be saved goes on without."""
        if self.path is None:
            return
        buffer = BytesIO()
        torch.save(state, buffer)
        part = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(exist_ok=True)
            _tidy(self.path.parent)
            part.write_bytes(self._digest(buffer.getvalue()) + buffer.getvalue())
            part.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def remove(self) -> None:
        """The run is done."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self.key.encode() + content).digest()


def _tidy(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was first
            if path.stat().st_mtime < time.time() - KEPT:
                path.unlink()
