"""What the simulated cohort looks like: a sheet beside figure 6."""

from __future__ import annotations

from typing import Any

from analysis.engine import style
from analysis.experiments.breathing import cohort, spectra

CAPTION = {"_clips": "One. Two."}
SUBJECT = 1  # its three clips show best what the words say


def sheet() -> Any:
    """Belt, thermistor and both spectra of three clips."""
    seconds, chest, nose, words = cohort.example(SUBJECT)
    fig, axes = style.figure(4.2, 3, 3)
    bins = range(spectra.FIRST, spectra.FIRST + spectra.BINS)
    for column, what in enumerate(words):
        for axis, signal, colour in zip(axes[:2, column], (chest, nose), (style.BLUE, style.RED), strict=False):
            axis.plot(seconds, signal[column], color=colour, lw=0.6)
            axis.set_xlabel("seconds")
        for signal, colour, name in ((chest, style.BLUE, "chest"), (nose, style.RED, "nose")):
            axes[2, column].step(bins, spectra.spectrum(signal[column]), where="mid", color=colour, label=name, lw=0.8)
        axes[2, column].set_xlabel("breaths per minute")
        style.letter(axes[0, column], "abc"[column], f"{what} (simulated)")
    for axis, name in zip(
        axes[:, 0], ("chest excursion\n(arbitrary unit)", "nasal airflow\n(arbitrary unit)", "power"), strict=True
    ):
        axis.set_ylabel(name)
    axes[2, 0].legend()
    fig.suptitle(
        "Three simulated minutes: the network sees the chest and predicts the spectrum of the nose", fontsize=8
    )
    return fig
