"""Every bit of every result on a fixed corpus, whatever the threads; see corpus.py."""

import corpus
import pytest

from emdref.kernels.compile import threads


def test_no_bit_has_changed():
    assert list(corpus.lines()) == corpus.committed(), "python tests/project/corpus.py says which lines"


@pytest.mark.parametrize("only", [("chain", "random"), pytest.param((), marks=pytest.mark.slow)], ids=["two", "all"])
def test_no_bit_depends_on_threads(only, monkeypatch):
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    with threads.at_most(4):
        found = list(corpus.lines(only))
    assert found == [line for line in corpus.committed() if not only or line[3] in only]


def test_a_bit_makes_a_difference():
    p, q = corpus.pairs("chain", "flat", 8, float)
    before, q = corpus.digest([p, q]), q.copy()
    q[-1, -1] *= 1 + 2**-52
    assert corpus.digest([p, q]) != before
    assert corpus.digest([p]) != corpus.digest([p.astype("f4")])
