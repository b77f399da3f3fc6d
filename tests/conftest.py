"""Hypothesis draws the same cases in every run, so that a failure in CI is a failure at home, and leaves no files.

Tests marked `gpu` are skipped, with the reason, where neither a device nor Numba's simulator of one is at hand.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from gpu_support import skip_without_device

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "emdref-hypothesis")
settings.register_profile("emdref", max_examples=30, deadline=None, derandomize=True, database=None)
settings.load_profile("emdref")


def pytest_runtest_setup(item):
    skip_without_device(item)
