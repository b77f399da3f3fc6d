"""Hypothesis draws the same cases in every run, so that a failure in CI is a failure at home, and leaves no files.

Tests marked `gpu` are left out where neither a device nor Numba's simulator of one is at hand, and those marked `slow`
unless `-m` asks for them; the last lines say how many, why, and what would run them.
"""

import gc
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import tiers
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

import gpu_support

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "emdref-hypothesis")
settings.register_profile("emdref", max_examples=30, deadline=None, derandomize=True, database=None)
settings.register_profile("quick", settings.get_profile("emdref"), max_examples=12)

ALL = 'python -m pytest -m "slow or not slow"'
LEFT_OUT = pytest.StashKey[list]()  # tests that were collected but are not run
WHY = pytest.StashKey[Counter]()  # how many for each reason


def pytest_configure(config):
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "emdref")
    config.stash[LEFT_OUT], config.stash[WHY] = [], Counter()


def pytest_collection_finish():
    """What was collected stays until the end: Python need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def drawn_once(monkeypatch):
    """Pictures are drawn, but not laid out, for which each is drawn three times more; test_reproduction does that."""
    from matplotlib import rc_context

    from analysis.engine import style

    def as_it_is(figure):
        with rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)

    monkeypatch.setattr(style, "_settle", as_it_is)


@pytest.fixture
def one_sheet(monkeypatch):
    """The slides, which many tests draw since they are quick, without their other sheets, which are not."""
    from analysis.figures import slides

    monkeypatch.setattr(slides, "draw", lambda table: {"": slides._draw_spikes(table)})
    monkeypatch.setattr(slides, "tables", lambda table: {})


@pytest.fixture
def collected(request):
    """All tests that were found, those left out included."""
    return [*request.session.items, *request.config.stash[LEFT_OUT]]


@pytest.hookimpl(tryfirst=True)  # before -m looks for marks
def pytest_collection_modifyitems(config, items):
    tiers.thin(items)
    without = [item for item in items if gpu_support.reason_against(item)]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in set(without)]


def pytest_deselected(items):
    for item in items:
        reason = gpu_support.reason_against(item) or (f"slow: {ALL}" if item.get_closest_marker("slow") else "")
        item.config.stash[WHY][reason] += 1
        item.config.stash[LEFT_OUT].append(item)


def pytest_sessionfinish(session):
    """A worker tells the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["why"] = dict(session.config.stash[WHY])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[WHY] = Counter(getattr(node, "workeroutput", {}).get("why"))  # the same in all


def pytest_terminal_summary(terminalreporter, config):
    for reason, count in config.stash[WHY].items():
        if reason:
            terminalreporter.write_line(f"{count} tests left out, {reason}")
