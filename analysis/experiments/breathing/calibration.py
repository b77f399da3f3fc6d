"""What KL's output needs under it, found before losses are compared, by runs of KL alone.

``python -m analysis.experiments.breathing.calibration`` trains the perceptron with KL at each floor and rate, with a
split and a start that no run of the figures has, and prints the EMD of the spectra on the subjects that choose.
The least is `networks.FLOOR`.
"""

from __future__ import annotations

from functools import partial

import pandas as pd

from analysis.experiments.breathing import experiment, networks

FLOORS = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
SEED = 1000
SOURCE = {"subjects": 81, "each": 200, "seed": SEED}


def table() -> pd.DataFrame:
    """EMD at the end: a row for each floor, a column for each rate."""
    return pd.DataFrame({rate: {floor: _end(floor, rate) for floor in FLOORS} for rate in RATES})


def _end(floor: float, rate: float) -> float:
    parameters = {
        "network": "perceptron", "loss": "KL", "rate": rate, "seed": SEED, "epochs": 20, "until": 20,
        "source": SOURCE, "floor": floor,
    }  # fmt: skip
    rows = experiment.train(
        "analysis.experiments.breathing.calibration:table", parameters, partial(networks.kl, floor=floor)
    )
    return float(rows[-1].get("choosing_emd", float("nan")))


if __name__ == "__main__":
    print(table().round(4).to_string())
