"""Whether the extra that training needs is there, and what it trains on."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def absent(options: Any) -> str:
    """Why nothing can be trained here, or ""."""
    return "" if find_spec("torch") else "training needs the extra: python3 -m pip install --editable '.[torch]'"


def device() -> str:
    """A GPU where torch and emdref can both use one."""
    import torch

    return "cuda" if torch.cuda.is_available() and find_spec("numba_cuda") else "cpu"
