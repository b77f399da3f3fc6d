"""Pictures of the breathing experiment."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.engine import style

FIGURE6 = {"": "One. Two."}
ICML = {"": "One. Two."}


def figure6(table: pd.DataFrame) -> Any:
    """arXiv."""
    return {"": style.figure(2.0)[0]}


def icml(table: pd.DataFrame) -> Any:
    """ICML."""
    return {"": style.figure(2.0)[0]}
