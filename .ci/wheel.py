"""Check that a wheel holds emdref and its data alone: python .ci/wheel.py WHEEL."""

import sys
import zipfile

NEEDED = {
    "emdref/py.typed",
    "emdref/spaces/data/wordnet.tsv",
    "emdref/spaces/data/WORDNET_LICENSE",
    "emdref/kernels/rows/loops.py",
}

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
foreign = sorted(n for n in names if not n.startswith(("emdref/", "emdref-")))
missing = sorted(NEEDED - names)
if foreign or missing:
    sys.exit(f"wheel: does not belong there: {foreign}; missing: {missing}")
print(f"wheel: {len(names)} files, emdref and its data alone")
