"""What the papers say of the breathing experiment, as claims with their one contrast each."""

from __future__ import annotations

import pandas as pd

from analysis.engine.claims import Claim


def figure6(table: pd.DataFrame) -> list[Claim]:
    """arXiv."""
    return []


def icml(table: pd.DataFrame) -> list[Claim]:
    """ICML."""
    return []
