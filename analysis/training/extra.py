"""Whether the extra that training needs is there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def absent(options: Any) -> str:
    """Why nothing can be trained here, or ""."""
    return "" if find_spec("torch") else "training needs the extra: python3 -m pip install --editable '.[torch]'"
