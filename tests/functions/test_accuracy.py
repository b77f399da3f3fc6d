"""A ratchet: the largest errors ever committed, per function, space, dtype and family, may only fall.

``PYTHONPATH=. python tests/functions/test_accuracy.py`` lowers accuracy_ratchet.csv beside it to what
figures/accuracy.csv has reached; nothing raises it.
"""

from pathlib import Path

import pandas as pd
import pytest

from analysis.engine.script import Options
from analysis.studies import accuracy

RATCHET = Path(__file__).parent / "accuracy_ratchet.csv"
FIGURE = Path(__file__).parents[2] / "figures" / "accuracy.csv"
KEY = ["function", "space", "dtype", "family"]
DIGITS = 1e-9  # the figure's CSV has nine digits


def maxima(table):
    """The largest errors of compensated results."""
    own = table[table.implementation == "compensated"]
    return own.groupby(KEY).max_ulp.max()


def figure():
    return maxima(pd.read_csv(FIGURE, keep_default_na=False, na_values=[""]))


def ratchet():
    return pd.read_csv(RATCHET).set_index(KEY).max_ulp


def assert_no_higher(found, allowed):
    worse = found[found > allowed.reindex(found.index) + DIGITS]
    assert worse.empty, f"errors that have grown:\n{worse.to_string()}"
    assert allowed.reindex(found.index).notna().all()


def test_the_committed_figure_is_no_worse_than_ever():
    assert_no_higher(figure(), ratchet())
    assert set(figure().index) == set(ratchet().index)


@pytest.mark.filterwarnings("ignore:[0-9]+ entries of the:RuntimeWarning")  # near_overflow
@pytest.mark.parametrize("space", ["chain", "WordNet"])
def test_today_is_no_worse_than_ever(space):
    """The first pair of each cell, computed anew."""
    cells = [cell for cell in accuracy.cells(Options(toy=True)) if cell.parameters["space"] == space]
    table = pd.DataFrame([row for cell in cells for row in accuracy.compute(**cell.parameters)])
    assert len(cells) == 22
    assert_no_higher(maxima(table), ratchet())


def test_a_growing_error_is_seen():
    grown = ratchet().copy()
    grown.iloc[0] += 0.01
    with pytest.raises(AssertionError, match="errors that have grown"):
        assert_no_higher(grown, ratchet())


if __name__ == "__main__":
    lowered = figure()
    if RATCHET.exists():
        lowered = lowered.combine(ratchet(), min).dropna()
    lowered.reset_index().to_csv(RATCHET, index=False, float_format="%.9g", lineterminator="\n")
