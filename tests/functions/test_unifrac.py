"""UniFrac of count tables, against its definition in rationals, printed values, and tables of every kind."""

from fractions import Fraction

import numpy as np
import pandas
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref

TREE = "(((a:1,b:2):0.5,(c:0.25,d:1):0.75):0.125,e:3,(f:0.5):0.5);"
SKBIO = "(((((U1:0.5,U2:0.5):0.5,U3:1.0):1.0):0.0,(U4:0.75,(U5:0.5,((U6:0.33,U7:0.62):0.5,U8:0.5):0.5):0.5):1.25):0.0);"


def definition(p, q, parent, cost, bins, rho=1):
    """u, and the sum of the distances from the root that it is divided by, walking up from each tip by itself."""
    below, depth = [Fraction(0)] * len(parent), Fraction(0)
    for node, a, b in zip(bins, p, q, strict=True):
        a, b = Fraction(a) / sum(map(Fraction, p)), Fraction(b) / sum(map(Fraction, q))
        while parent[node] >= 0:
            below[node] += a - b
            depth += Fraction(cost[node]) * (a + b)
            node = parent[node]
    return sum(Fraction(m) * abs(x) ** rho for m, x in zip(cost, below, strict=True)), depth


def exactly(counts, tree, rho=1):
    """The definition between all rows."""
    tree = tree.parent.tolist(), tree.cost.tolist(), tree.bins.tolist()
    return [[definition(p, q, *tree, rho) for q in counts.tolist()] for p in counts.tolist()]


def table(seed=0, samples=4, taxa="abcdef", high=9):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, high, (samples, len(taxa)))
    counts[:, 0] += 1
    return pandas.DataFrame(counts, [f"s{i}" for i in range(samples)], list(taxa))


class Biom:
    """What is asked of biom.Table: taxa in rows."""

    def __init__(self, frame):
        self.matrix_data = scipy.sparse.csr_matrix(frame.to_numpy(float).T)
        self._ids = {"sample": frame.index.to_numpy(), "observation": frame.columns.to_numpy()}

    def ids(self, axis="sample"):
        return self._ids[axis]


class Polars:
    """A table with names, of a library that is not known."""

    columns = tuple("abcdef")

    def __array__(self, dtype=None, copy=None):
        return np.ones((2, 6))


# --- values -----------------------------------------------------------------------------------------------------------


@st.composite
def tables(draw):
    tree = draw(cases.trees())
    row = st.lists(st.integers(0, 50), min_size=tree.n_bins, max_size=tree.n_bins).filter(any)
    return tree, np.array(draw(st.lists(row, min_size=1, max_size=3)))


@given(case=tables(), rho=st.sampled_from([1, 2, 3]))
def test_the_definition(case, rho):
    tree, counts = case
    got, exact = emdref.unifrac(counts, tree, rho=rho), exactly(counts, tree, rho)
    assert got.dtype == np.float64
    for got_row, row in zip(got, exact, strict=True):
        cases.assert_within_ulps(got_row, [u for u, _ in row])


@given(case=tables())
def test_the_definition_normalised(case):
    """3 eps, and 0 where the quotient is 0 / 0."""
    tree, counts = case
    got = emdref.unifrac(counts, tree, normalized=True)
    assert (np.diagonal(got) == 0).all() and (got == got.T).all() and (got <= 1).all()
    for got_row, row in zip(got, exactly(counts, tree), strict=True):
        for value, (u, depth) in zip(got_row, row, strict=True):
            quotient = u / depth if depth else Fraction(0)
            assert abs(Fraction(value) - quotient) <= 3 * Fraction(2) ** -52 * quotient


def test_values_that_scikit_bio_prints():
    """The example of skbio.diversity.beta.weighted_unifrac in version 0.7.4, printed with two digits."""
    counts = [[1, 0, 0, 4, 1, 2, 3, 0], [0, 1, 1, 6, 0, 1, 0, 0]]
    tree = emdref.Tree.from_newick(SKBIO)
    assert round(emdref.unifrac(counts, tree)[0, 1], 2) == 1.54
    assert round(emdref.unifrac(counts, tree, normalized=True)[0, 1], 2) == 0.33


def test_it_is_pairwise_bit_for_bit():
    tree, counts = emdref.Tree.from_newick(TREE), table(1).to_numpy()
    for options in ({}, {"rho": 2}, {"rho": 2.5}, {"accuracy": "native"}):
        expected = emdref.pairwise(counts, tree, mass="normalize", **options)
        np.testing.assert_array_equal(emdref.unifrac(counts, tree, **options), expected)


def test_certify_agrees():
    tree, frame = emdref.Tree.from_newick(TREE), table(2, taxa="fbd")
    certificate = emdref.certify(*frame.to_numpy()[:2], tree.restrict(["f", "b", "d"]), mass="normalize")
    assert certificate.verify()
    assert certificate.lower <= emdref.unifrac(frame, tree)[0, 1] <= certificate.upper


def test_squares_are_distances_of_double_principal_coordinates():
    """Of centroids where tips are sqrt(distance) apart: (p - q) D (p - q) / -2, exact in short numbers."""
    tree, counts = emdref.Tree.from_newick(TREE), np.array([[1, 2, 0, 0, 1, 4], [2, 0, 4, 1, 1, 0]])
    x = counts[0] / 8 - counts[1] / 8
    assert emdref.unifrac(counts, tree, rho=2)[0, 1] == -x @ tree.distance_matrix() @ x / 2


def test_float32_stays_and_is_rounded_from_float64():
    tree, counts = emdref.Tree.from_newick(TREE), table(3).to_numpy(np.float32)
    for normalized in (False, True):
        got = emdref.unifrac(counts, tree, normalized=normalized)
        assert got.dtype == np.float32
        expected = emdref.unifrac(counts.astype(float), tree, normalized=normalized)
        np.testing.assert_allclose(got, expected, rtol=np.finfo(np.float32).eps, atol=0)
    np.testing.assert_array_equal(got, expected.astype(np.float32))


@pytest.mark.parametrize("unit", [2.0**-1050, 2.0**1020])
def test_normalised_has_no_unit(unit):
    """Where u itself is subnormal, or its denominator beyond float64."""
    tree, counts = emdref.Tree.from_newick(TREE), table(4).to_numpy()
    scaled = emdref.Tree(tree.parent, tree.cost * unit, tree.bins)
    got, expected = (emdref.unifrac(counts, space, normalized=True) for space in (scaled, tree))
    np.testing.assert_array_equal(got, expected)


def test_normalised_where_lengths_are_far_apart():
    tree = emdref.Tree([-1, 0, 0, 0], [0, 3e-310, 1e-310, 1e200])
    third = emdref.unifrac([[2, 1, 0], [1, 0, 0], [0, 0, 1]], tree, normalized=True)
    np.testing.assert_allclose(third, [[0, 0.25, 1], [0.25, 0, 1], [1, 1, 0]], rtol=1e-13)


def test_nothing_over_nothing_is_0():
    tree = emdref.Tree.from_newick("((a:0,b:0):0,c:1);")
    counts = [[1, 2, 0], [5, 1, 0], [0, 0, 1], [1, 1, 2]]
    got = emdref.unifrac(counts, tree, normalized=True)
    np.testing.assert_array_equal(got, [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1 / 3], [1, 1, 1 / 3, 0]])
    assert not emdref.unifrac(counts, emdref.Tree([-1, 0, 0, 0], [0, 0, 0, 0]), normalized=True).any()


def test_normalised_is_at_most_1():
    """Both samples' ways meet at the root alone: here the floats' quotient would be 1 + eps."""
    tree = emdref.Tree([-1, 0, 0, 1, 1, 2, 2], [0, 0.44, 0.95, 0.5, 0.43, 0.62, 1.0])
    assert emdref.unifrac([[5, 8, 0, 0], [0, 0, 1, 4]], tree, normalized=True)[0, 1] == 1


def test_a_bin_at_the_root_and_a_chain():
    """A sample at the root is at no distance from it; a chain is rooted at its last bin."""
    counts = np.array([[1, 0, 3], [0, 4, 0], [0, 0, 2]])
    tree = emdref.Tree([-1, 0, 1], [0, 1, 1], bins=[2, 1, 0])
    expected = [[0, 2 / 3, 1], [2 / 3, 0, 1], [1, 1, 0]]
    for space in (tree, emdref.Chain(3)):
        np.testing.assert_allclose(emdref.unifrac(counts, space, normalized=True), expected, rtol=2**-50)


def test_the_root_stays_where_tips_are_cut_away():
    """d is the distance from the tree's root, not from where the tips of the table meet."""
    tree = emdref.Tree.from_newick("((a:1,b:1):5,z:1);")
    frame = pandas.DataFrame([[1, 0], [0, 1]], columns=["a", "b"])
    assert emdref.unifrac(frame, tree, normalized=True)[0, 1] == 2 / 12


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalized", [False, True])
def test_names_decide(normalized):
    tree, frame = emdref.Tree.from_newick(TREE), table(5)
    expected = emdref.unifrac(frame.to_numpy(), tree, normalized=normalized)
    turned = frame[list("fdbeca")]
    np.testing.assert_array_equal(emdref.unifrac(frame, tree, normalized=normalized), expected)
    np.testing.assert_allclose(emdref.unifrac(turned, tree, normalized=normalized), expected, rtol=2**-50)
    some = frame[["e", "a", "d"]]
    full = some.reindex(columns=list("abcdef"), fill_value=0)
    expected = emdref.unifrac(full, tree, normalized=normalized)
    np.testing.assert_allclose(emdref.unifrac(some, tree, normalized=normalized), expected, rtol=2**-50)


@pytest.mark.parametrize("normalized", [False, True])
def test_containers(normalized):
    tree, frame = emdref.Tree.from_newick(TREE), table(6)
    counts, options = frame.to_numpy(), {"normalized": normalized}
    expected = emdref.unifrac(counts, tree, **options)
    counting = pandas.DataFrame(counts)
    kinds = [Biom(frame), frame.astype("Int64"), frame.astype(pandas.SparseDtype("float64", 0)), counting]
    kinds += [counts.tolist(), scipy.sparse.csr_array(counts), scipy.sparse.coo_matrix(counts.astype(float))]
    for kind in kinds:
        np.testing.assert_array_equal(emdref.unifrac(kind, tree, **options), expected)
    assert emdref.unifrac(counts[:1], tree, **options).tolist() == [[0.0]]
    assert emdref.unifrac(counts[:0], tree, **options).shape == (0, 0)


def test_the_table_is_not_written_to():
    tree, counts = emdref.Tree.from_newick(TREE), table(7).to_numpy(float)
    counts.flags.writeable = False
    emdref.unifrac(counts, tree, normalized=True)


# --- bad input --------------------------------------------------------------------------------------------------------


def put(row, column, value):
    frame = table().astype(float)
    frame.loc[row, column] = value
    return frame


EMPTY = table().mul([1, 0, 1, 1], axis=0)
BAD = [
    (lambda: put("s2", "d", -1), ValueError, r"table\['s2', 'd'\] = -1.0: a count is finite and >= 0"),
    (lambda: put("s1", "f", np.nan), ValueError, r"table\['s1', 'f'\] = nan: a count is finite"),
    (lambda: put("s1", "f", np.inf).to_numpy(), ValueError, r"table\[1, 5\] = inf: a count is finite"),
    (lambda: Biom(put("s2", "d", -1)), ValueError, r"table\['d', 's2'\] = -1.0: a count is finite"),
    (lambda: scipy.sparse.csr_array(put("s2", "d", -1).to_numpy()), ValueError, r"table\[2, 3\] = -1.0"),
    (lambda: EMPTY, ValueError, r"table\['s1', :\], a sample, has no counts: leave it out"),
    (lambda: EMPTY.to_numpy(), ValueError, r"table\[1, :\], a sample, has no counts"),
    (lambda: Biom(EMPTY), ValueError, r"table\[:, 's1'\], a sample, has no counts"),
    (lambda: scipy.sparse.coo_array(([2, 0], ([0, 1], [0, 0])), (2, 6)), ValueError, r"table\[1, :\], a sample"),
    (lambda: table(taxa="abxyef"), ValueError, r"table.columns: 2 unknown \('x', 'y'\): drop what is unknown"),
    (lambda: table(taxa="abcdea"), ValueError, r"table.columns: 1 given twice \('a'\)"),
    (lambda: Biom(table(taxa="abxyef")), ValueError, r"table.ids\(axis=\"observation\"\): 2 unknown"),
    (lambda: table().T, ValueError, "give table.T"),
    (Polars, TypeError, r"table is a Polars, whose names of columns are not read: give table.to_pandas\(\)"),
    (lambda: table().to_numpy().T, ValueError, "table has 4 columns and the tree 6 bins: table.T has them"),
    (lambda: table(taxa="abc").to_numpy(), ValueError, r"3 columns and the tree 6 bins: tree.restrict\(names\)"),
    (lambda: table()[[]], ValueError, "table.columns is empty"),
    (lambda: table().to_numpy()[0], ValueError, r"table has shape \(6,\), it must have two axes"),
    (lambda: table().assign(taxonomy="k__Bacteria"), TypeError, r"table\['taxonomy'\] has dtype .*: give numbers, or"),
    (lambda: table() > 0, TypeError, r"table\['a'\] has dtype bool: give numbers"),
    (lambda: table().to_numpy() > 0, TypeError, "table has dtype bool"),
    (lambda: table().astype("Int64").where(lambda x: x != 2), ValueError, r"\] = nan: a count is finite"),
    (lambda: (table() > 0).astype("boolean"), TypeError, r"table\['a'\] has dtype boolean"),
    (lambda: table().astype("Int64") + 2**53, TypeError, "table holds an integer of 2"),
    (lambda: table() + 2**53, TypeError, "table holds an integer of 2"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD)
@pytest.mark.parametrize("normalized", [False, True])
def test_bad_tables(bad, error, message, normalized):
    with pytest.raises(error, match=message) as caught:
        emdref.unifrac(bad(), emdref.Tree.from_newick(TREE), normalized=normalized)
    assert len(str(caught.value)) <= 300


def test_bad_arguments():
    tree, counts = emdref.Tree.from_newick(TREE), table()
    with pytest.raises(ValueError, match="normalized=True is defined for rho=1 alone, not rho=2"):
        emdref.unifrac(counts, tree, normalized=True, rho=2)
    with pytest.raises(TypeError, match="normalized must be True or False"):
        emdref.unifrac(counts, tree, normalized="yes")
    with pytest.raises(TypeError, match=r"tree must be an emdref.Tree, not str: Tree.from_newick reads"):
        emdref.unifrac(counts, TREE)
    with pytest.raises(TypeError, match=r"unifrac needs a root, which Circle .*: emdref.pairwise works"):
        emdref.unifrac(counts.to_numpy(), emdref.Circle(6))
    with pytest.raises(ValueError, match="accuracy='fast' is not one of"):
        emdref.unifrac(counts, tree, accuracy="fast")
    with pytest.raises(ValueError, match=r"bins 0 and 1 have one name, 'a', so that table.columns"):
        emdref.unifrac(table(taxa="ab"), emdref.Tree.from_newick("(a:1,a:1,b:1);"))
    with pytest.raises(ValueError, match=r"table.columns holds int, such as 1, and the bins are named by str"):
        emdref.unifrac(pandas.DataFrame([[1, 2]], columns=[1, 2]), emdref.Tree.from_newick("(1:1,2:1);"))


# --- the page of other implementations --------------------------------------------------------------------------------


def test_the_page_has_what_emdref_computes_now():
    """Every implementation and every small tree has its row, and emdref's numbers are today's."""
    from analysis.sources import unifrac_peers

    rows = [line.strip("| ").split(" | ") for line in unifrac_peers.PAGE.read_text("utf-8").splitlines()]
    measured = {cells[0]: cells for cells in rows}
    for label, (newick, frame) in unifrac_peers.CASES.items():
        assert measured[label][1] == f"`{newick}`"
        assert measured[label][2] == unifrac_peers.cell("emdref", unifrac_peers.Study(frame, newick))
    assert set(unifrac_peers.PEERS) <= set(measured)
    assert not any("not installed" in cells for cells in rows)


def test_a_missing_peer_says_so():
    from analysis.sources import unifrac_peers

    with pytest.raises(unifrac_peers.Missing, match="no-such-program is not installed"):
        unifrac_peers.run(["no-such-program"])
