"""Numbers printed in the papers."""

import numpy as np
import pytest

import emdref

EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}


@pytest.fixture
def figure_1_tree():
    """Two pairs of unit-cost leaves; one pair's node is the root, the other its child."""
    return emdref.Tree([-1, 0, 0, 0, 1, 1], bins=[2, 3, 4, 5])


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize(("rho", "printed"), [(1, [1.5, -0.5, -1.5, 0.5]), (2, [0.5, -0.1, -0.7, 0.3])])
def test_figure_1(figure_1_tree, rho, printed, accuracy, dtype):
    """arXiv 1611.07573, Fig. 1; 8 eps: six roundings of numbers up to 1.5, and the printed decimals' own."""
    f, y = np.array([0.2, 0.4, 0.2, 0.2], dtype), np.array([0, 0.5, 0.5, 0], dtype)
    grad = emdref.emd_grad(f, y, figure_1_tree, rho, accuracy=accuracy)
    np.testing.assert_allclose(grad, printed, rtol=0, atol=8 * EPS[dtype])


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("shift", [5, 25, 50])
def test_shifted_spikes(shift, accuracy, dtype):
    """The slides: a spike moved by so many bins."""
    spikes = np.eye(100, dtype=dtype)
    assert emdref.emd(spikes[20], spikes[20 + shift], emdref.Chain(100), accuracy=accuracy) == shift
