"""What the simulated cohort looks like: a sheet beside figure 6."""

from __future__ import annotations

from typing import Any

from analysis.engine import style
from analysis.experiments.breathing import cohort, spectra

CAPTION = {
    "_clips": "Three simulated minutes of one sleeper: the chest excursion that the network sees, the nasal airflow, "
    "and the spectra of both. An obstructed airway stops the airflow but not the chest, and movement breaks what the "
    "chest shows."
}
SUBJECT = 1  # its three clips show best what the words say


def sheet() -> Any:
    """Belt, thermistor and both spectra of three clips."""
    seconds, chest, nose, words = cohort.example(SUBJECT)
    fig, axes = style.figure(3.5, 3, 3)
    bins = range(spectra.FIRST, spectra.FIRST + spectra.BINS)
    for column, what in enumerate(words):
        for axis, signal, colour in zip(axes[:2, column], (chest, nose), (style.BLUE, style.RED), strict=False):
            axis.plot(seconds, signal[column], color=colour, lw=0.5)
            axis.set(xlabel="seconds", xticks=(0, 30, 60))
        for signal, colour, name in ((chest, style.BLUE, "chest"), (nose, style.RED, "nose")):
            axes[2, column].step(bins, spectra.spectrum(signal[column]), where="mid", color=colour, label=name, lw=0.8)
        axes[2, column].set(xlabel="breaths per min", xticks=(10, 20, 30))
        axes[0, column].set_title(what)
    for axis, name in zip(axes[:, 0], ("chest", "nasal airflow", "power"), strict=True):
        axis.set_ylabel(name)
    for row in axes[1:]:
        lows, highs = zip(*(axis.get_ylim() for axis in row), strict=True)
        for axis in row:
            axis.set_ylim(min(lows), max(highs))
            axis.tick_params(labelleft=axis is row[0])
    fig.legend(*axes[2, 2].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    fig.suptitle("Three minutes of one sleeper (simulated)")
    return fig
