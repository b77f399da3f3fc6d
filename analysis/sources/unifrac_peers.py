"""How far published weighted UniFracs are from emdref's: writes the measured tables of docs/understand/unifrac.md.

    python -m analysis.sources.unifrac_peers DATA [--out docs/understand/unifrac.md]

DATA is a folder with ``crawford.biom`` and ``crawford.tre`` (github.com/biocore/unifrac, unifrac/tests/data),
``GlobalPatterns.RData``, ``gp500test.tree``, ``gp500test.env.txt``, ``gp500-wufu.csv`` and ``gp500-wuf.csv``
(github.com/joey711/phyloseq, data and inst/extdata), and ``97_otus.tree.gz`` (Greengenes 13_8). It needs scikit-bio,
biom-format and pandas. ``ssu`` (unifrac-binaries) and ``Rscript`` with phyloseq, GUniFrac and ecodive are run where
they are there; one that is missing is a column or a row that says so.
"""

import argparse
import contextlib
import gzip
import math
import subprocess
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas

import emdref

PAGE = Path(__file__).parents[2] / "docs" / "understand" / "unifrac.md"
TIMEOUT = 900  # seconds that another program may take
SMALL = pandas.DataFrame([[3, 1, 0, 4], [0, 2, 5, 1]], ["s1", "s2"], list("abcd"))
CASES = {
    "binary, rooted": ("((a:1,b:2):0.5,(c:1,d:0.25):1);", SMALL),
    "a length at the root": ("((a:1,b:2):0.5,(c:1,d:0.25):1):3;", SMALL),
    "the tips' ancestor is below the root": ("(((a:1,b:2):0.5,(c:1,d:0.25):1):7,z:1);", SMALL),
    "tips that the table lacks": ("((a:1,(b:2,y:1):0.5):0.5,(c:1,(d:0.25,z:9):3):1);", SMALL),
    "a node with one child": ("(((a:1,b:2):0.25):0.25,(c:1,d:0.25):1);", SMALL),
    "a node with three children": ("((a:1,b:2,c:1):0.5,d:0.25);", SMALL),
    "a root with three children": ("(a:1,b:2,(c:1,d:0.25):1);", SMALL),
    "a branch without length": ("((a:1,b:2),(c:1,d:0.25):1);", SMALL),
    "a negative length": ("((a:1,b:2):-0.5,(c:1,d:0.25):1);", SMALL),
    "a tip's name twice": ("((a:1,b:2):0.5,(c:1,(d:0.25,a:1):1):1);", SMALL),
    "shares in place of counts": ("((a:1,b:2):0.5,(c:1,d:0.25):1);", SMALL / 8),
    "counts with fractions": ("((a:1,b:2):0.5,(c:1,d:0.25):1);", SMALL * 1.3),
    "a sample without counts": ("((a:1,b:2):0.5,(c:1,d:0.25):1);", SMALL.mul([1, 0], axis=0)),
    "all lengths 0": ("((a:0,b:0):0,(c:0,d:0):0);", SMALL),
}
R = """
a <- commandArgs(TRUE); suppressMessages(library(ape))
if (file.exists(a[3])) .libPaths(c(a[3], .libPaths()))
of <- function(x, t, normalized) suppressMessages(suppressWarnings(switch(a[1],
  phyloseq = phyloseq::UniFrac(phyloseq::phyloseq(phyloseq::otu_table(x, FALSE), t), TRUE, normalized),
  GUniFrac = if (normalized) GUniFrac::GUniFrac(x, t, alpha=1)$unifracs[,,"d_1"] else matrix(NaN, nrow(x), nrow(x)),
  ecodive = if (normalized) ecodive::normalized_unifrac(x, t) else ecodive::weighted_unifrac(x, t))))
told <- as.character(packageVersion(a[1]))
for (table in Sys.glob(file.path(a[2], "*.csv"))) for (normalized in c(FALSE, TRUE)) {
  t <- read.tree(sub("csv$", "nwk", table)); x <- as.matrix(read.csv(table, row.names=1, check.names=FALSE))
  text <- tryCatch(formatC(as.matrix(of(x, t, normalized)), digits=17, format="g"), error=function(e) "error")
  write.table(text, sub("csv$", normalized, table), row.names=FALSE, col.names=FALSE, quote=FALSE)
}
cat(told)
"""
EXPORT = """
a <- commandArgs(TRUE); suppressMessages({library(phyloseq); library(ape)}); load(a[1])
write.tree(phy_tree(GlobalPatterns), a[2], digits=17)
write.csv(t(as(otu_table(GlobalPatterns), "matrix")), a[3])
"""


class Study(NamedTuple):
    """A table and the text of its tree."""

    table: pandas.DataFrame
    newick: str


class Missing(Exception):
    """A program or a package that is not there."""


# --- implementations --------------------------------------------------------------------------------------------------


def scikit_bio(study, normalized, _, engine):
    """Between all samples, by the engine that is compiled beforehand or by Numba's."""
    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    tree = TreeNode.read([study.newick], convert_underscores=False)
    rows, ids = study.table.to_numpy(), [str(x) for x in study.table.index]
    options = {"taxa": list(study.table.columns), "tree": tree, "normalized": normalized, "engine": engine}
    return beta_diversity("weighted_unifrac", rows, ids, **options).data, version("scikit-bio")


def ssu(study, normalized, folder, precision):
    """The program of unifrac-binaries."""
    import biom
    import h5py

    names = [str(x) for x in study.table.columns], [str(x) for x in study.table.index]
    with h5py.File(folder / "table.biom", "w") as file:
        biom.Table(study.table.to_numpy(float).T, *names).to_hdf5(file, "emdref")
    (folder / "tree.nwk").write_text(study.newick)
    method = f"weighted_{'' if normalized else 'un'}normalized_{precision}"
    files = ["-i", folder / "table.biom", "-t", folder / "tree.nwk", "-o", folder / "out.h5"]
    run(["ssu", *files, "-m", method, "-r", "hdf5_fp64" if precision == "fp64" else "hdf5_fp32"])
    with h5py.File(folder / "out.h5") as file:
        order = [x.decode() for x in file["order"][:]]
        found = pandas.DataFrame(file["matrix"][:].astype(float), order, order)
    return found.loc[names[1], names[1]].to_numpy(), ""


def in_r(study, normalized, _, package):
    """A package of R."""
    if package == "GUniFrac" and not normalized:
        raise Missing("GUniFrac normalises")
    if (key := (package, id(study))) not in _KNOWN:
        ask_r(package, [study])
    found, told, _ = _KNOWN[key]
    matrix = found[normalized]
    if matrix is None:
        raise ValueError(f"{package} has an error")
    return matrix, told


def ask_r(package, some):
    """Results of a package of R, which is started once."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "peers.R"
        script.write_text(R)
        for k, study in enumerate(some):
            study.table.to_csv(script.with_name(f"{k}.csv"))
            script.with_name(f"{k}.nwk").write_text(study.newick + "\n")
        told = run(["Rscript", script, package, folder, LIBRARY])
        for k, study in enumerate(some):
            texts = [script.with_name(f"{k}.{word}").read_text().replace("NA", "nan") for word in ("FALSE", "TRUE")]
            found = [None if "error" in text else np.loadtxt(text.splitlines(), ndmin=2) for text in texts]
            _KNOWN[package, id(study)] = found, told, study  # kept, for its id


_KNOWN = {}
LIBRARY = "Rlib"  # a folder of R packages, if there is one
PEERS = {
    "scikit-bio, engine cython": (scikit_bio, "cython"),
    "scikit-bio, engine numba": (scikit_bio, "numba"),
    "unifrac-binaries, fp64": (ssu, "fp64"),
    "unifrac-binaries, fp32": (ssu, "fp32"),
    "phyloseq::UniFrac": (in_r, "phyloseq"),
    "GUniFrac, d_1": (in_r, "GUniFrac"),
    "ecodive (rbiom)": (in_r, "ecodive"),
}
SLOW = {"phyloseq::UniFrac": ["500 samples"], "GUniFrac, d_1": ["GlobalPatterns", "500 samples"]}  # many minutes


def run(command):
    """The output of a program."""
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} is not done after {TIMEOUT} s") from None
    if "there is no package called" in done.stderr:
        raise Missing(f"{command[2]} is not installed")
    if done.returncode:
        raise ValueError((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    return done.stdout.strip()


def by(name, study, normalized):
    """The matrix of an implementation, and its version."""
    function, option = PEERS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(study, normalized, Path(folder), option)


def by_emdref(study, normalized):
    """The same of emdref, from the text of the tree on."""
    return emdref.unifrac(study.table, emdref.Tree.from_newick(study.newick), normalized=normalized)


# --- studies ----------------------------------------------------------------------------------------------------------


def studies(data):
    """Tables of 9, 26 and 500 samples, and their trees."""
    import biom

    crawford = biom.load_table(str(data / "crawford.biom")).to_dataframe(dense=True).T
    yield "Crawford", Study(crawford, (data / "crawford.tre").read_text().strip())
    with tempfile.TemporaryDirectory() as folder:
        script, tree, table = (Path(folder) / name for name in ("export.R", "tree.nwk", "table.csv"))
        script.write_text(EXPORT)
        run(["Rscript", script, data / "GlobalPatterns.RData", tree, table])
        patterns = pandas.read_csv(table, index_col=0)
        yield "GlobalPatterns", Study(patterns, tree.read_text().strip())
    yield "500 samples", drawn(data / "97_otus.tree.gz")


def drawn(path, samples=500, tips=10_000, observed=300):
    """Log-normal counts of a few hundred tips a sample, on a part of Greengenes that scikit-bio has cut out."""
    from skbio import TreeNode

    rng = np.random.default_rng(2012)
    with gzip.open(path, "rt") as file:
        tree = TreeNode.read(file, convert_underscores=False)
    names = rng.choice(sorted(x.name for x in tree.tips()), tips, replace=False).tolist()
    counts = np.zeros((samples, tips), np.int64)
    for row in counts:
        row[rng.choice(tips, observed, replace=False)] = np.ceil(rng.lognormal(2, 2, observed))
    part = tree.shear(names)
    for node in part.postorder(include_self=False):
        node.length = node.length or 0.0  # one branch of the file has none
    return Study(pandas.DataFrame(counts, [f"s{i}" for i in range(samples)], names), str(part).strip())


def pycogent(data):
    """PyCogent's own results, which phyloseq keeps for its tests: 26 samples, 500 tips of GlobalPatterns."""
    lines = [line.split() for line in (data / "gp500test.env.txt").read_text().splitlines()]
    long = pandas.DataFrame(lines, columns=["tip", "sample", "count"]).astype({"count": int})
    table = long.pivot(index="sample", columns="tip", values="count").fillna(0).astype(int).sort_index()
    tree = emdref.Tree.from_newick(data / "gp500test.tree")
    for normalized, name in ((False, "gp500-wufu.csv"), (True, "gp500-wuf.csv")):
        yield difference(np.loadtxt(data / name, delimiter=","), emdref.unifrac(table, tree, normalized=normalized))


# --- tables -----------------------------------------------------------------------------------------------------------


def difference(found, own):
    """The largest, relative to emdref's."""
    some = own > 0
    return float((np.abs(found - own)[some] / own[some]).max())


def shortest(function, *arguments, **options):
    """Seconds of the quickest of three calls after a first one, and the result."""
    result, seconds = function(*arguments, **options), []
    for _ in range(3):
        start = time.perf_counter()
        function(*arguments, **options)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def proven(study, tree, found, own):
    """Where both differ most: how many ulp either is from the float next to what `certify` proves."""
    i, j = np.unravel_index(np.argmax(np.abs(found - own) / np.where(own > 0, own, 1.0)), own.shape)
    rows = study.table.iloc[[i, j]]
    certificate = emdref.certify(*rows.to_numpy(float), tree.restrict(list(rows.columns)), mass="normalize")
    if not certificate.verify():
        raise AssertionError("a certificate that proves nothing")
    unit = math.ulp(certificate.value)
    return tuple(abs(x[i, j] - certificate.value) / unit for x in (own, found))


def agreement(data):
    """Rows of the table of differences, and those of times."""
    columns, times, errors = {name: [] for name in PEERS}, [], []
    versions = {}
    for label, study in studies(data):
        tree = emdref.Tree.from_newick(study.newick)
        for normalized in (False, True):
            seconds, own = shortest(by_emdref, study, normalized)
            for name in PEERS:
                if label in SLOW.get(name, ()):
                    columns[name].append("")
                    continue
                try:
                    found, told = by(name, study, normalized)
                except Missing as error:
                    columns[name].append("not installed" if "not installed" in str(error) else "")
                    continue
                versions[name] = told or versions.get(name, "")
                columns[name].append(f"{difference(found, own):.1e}")
                if name == "scikit-bio, engine cython" and not normalized:
                    errors.append((label, *proven(study, tree, found, own)))
            peer, _ = shortest(by, "scikit-bio, engine numba", study, normalized)
            times.append((label, "normalised" if normalized else "raw", f"{seconds:.3g}", f"{peer:.3g}"))
            print(label, normalized, flush=True)
    for name, cells in columns.items():
        yield f"| {name} | {versions.get(name) or '-'} | {' | '.join(cells)} |"
    kept = " | ".join(f"{x:.1e}" for x in pycogent(data))
    yield f"| PyCogent, results that phyloseq keeps, 500 tips | - | | | {kept} | | |"
    yield ""
    for label, own, other in errors:
        yield f"- {label}: emdref {own:.0f} ulp, scikit-bio {other:.0f} ulp from the float next to the proven value."
    yield ""
    yield "| table, from the text of its tree | | emdref, s | scikit-bio, engine numba, s |"
    yield "|---|---|---|---|"
    for cells in times:
        yield f"| {' | '.join(cells)} |"


def cell(name, study):
    """Raw and normalised, in a few digits, or what it says."""
    texts = []
    for normalized in (False, True):
        try:
            if name == "emdref":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tree = emdref.Tree.from_newick(study.newick)
                value = emdref.unifrac(study.table, tree, normalized=normalized)[0, 1]
            else:
                value = by(name, study, normalized)[0][0, 1]
            texts.append(f"{value:.6g}")
        except Missing:
            texts.append("-")
        except Exception:  # whatever others raise
            texts.append("error")
    return texts[0] if texts == ["error"] * 2 else " / ".join(texts)


def cases():
    """Rows of the table of small trees."""
    some = {label: Study(table, newick) for label, (newick, table) in CASES.items()}
    for function, option in PEERS.values():
        with contextlib.suppress(Missing):
            if function is in_r:
                ask_r(option, some.values())
    for label, study in some.items():
        found = [cell(name, study) for name in ("emdref", *shown())]
        yield f"| {label} | `{study.newick}` | {' | '.join(found)} |"


def shown():
    """Those that compute in float64."""
    return [name for name in PEERS if name != "unifrac-binaries, fp32"]


def between(page, mark, lines):
    """The page with these lines between two marks."""
    start, end = f"<!-- {mark} -->\n", f"<!-- {mark}: end -->"
    head, rest = page.split(start)
    return head + start + "\n".join(lines) + "\n" + end + rest.split(end)[1]


def main(argv=None):
    """Write the tables into the page."""
    global LIBRARY
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--r-library", default=LIBRARY, help="a folder of R packages beside R's own")
    given = parser.parse_args(argv)
    LIBRARY = given.r_library
    small = [f"| case | tree | emdref | {' | '.join(shown())} |", "|---" * (len(shown()) + 3) + "|", *cases()]
    given.out.write_text(between(given.out.read_text("utf-8"), "cases", small), "utf-8", newline="\n")
    heads = (
        f"{study}, {kind}" for study in ("Crawford", "GlobalPatterns", "500 × 10,000") for kind in ("raw", "normalised")
    )
    rows = [f"| implementation | version | {' | '.join(heads)} |", "|---" * 8 + "|", *agreement(given.data)]
    given.out.write_text(between(given.out.read_text("utf-8"), "agreement", rows), "utf-8", newline="\n")


if __name__ == "__main__":
    main()
