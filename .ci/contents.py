"""Check what a release holds: python .ci/contents.py WHEEL SDIST. A wheel emdref, its data and the plugin for pytest
alone, an sdist tests and scripts too, and neither of them figures or anything that was only lying about."""

import subprocess
import sys
import tarfile
import zipfile

NEEDED = {
    "emdref/py.typed",
    "emdref/spaces/data/wordnet.tsv",
    "emdref/kernels/rows/loops.py",
    "emdref_pytest.py",
}
LICENCES = {"LICENSE", "emdref/spaces/data/WORDNET_LICENSE"}
IN_SOURCES = {
    *(
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
        "conftest.py",
        "pyproject.toml",
        "setup.cfg",
    ),
    *("analysis/__main__.py", "docs/lookup/promise.md", "docs/reference/easy.json", "packaging/description.md"),
    *("analysis/report/report.html.j2", "tests/project/corpus.csv", "tests/support/oracles.py"),
}
MADE = {"PKG-INFO", "setup.cfg"}  # by the build


def looked_at(path: str) -> str:
    """What is wrong with a file of a release, or "" if nothing is."""
    if path.endswith(".whl"):
        names = set(zipfile.ZipFile(path).namelist())
        foreign = {x for x in names if not x.startswith(("emdref/", "emdref-", "emdref_pytest.py"))}
        missing = NEEDED - names
        licences = {x.partition(".dist-info/licenses/")[2] for x in names}
        missing |= LICENCES - licences
    else:
        with tarfile.open(path) as archive:
            members = [x for x in archive.getmembers() if not x.isdir()]
        names = {x.name.partition("/")[2] for x in members}
        listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
        foreign = {x for x in names - set(listed.split("\n")) - MADE if ".egg-info/" not in x}
        foreign |= {x.name for x in members if not x.isfile()}
        missing = (NEEDED | LICENCES | IN_SOURCES) - names
    print(f"{path}: {len(names)} files")
    if foreign or missing:
        return f"{path}: does not belong there: {sorted(foreign)}; missing: {sorted(missing)}"
    return ""


sys.exit("\n".join(filter(None, map(looked_at, sys.argv[1:]))) or 0)
