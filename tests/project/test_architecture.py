"""The house: how many entries a folder has, who asks what kind a space is, and how far it is from `emd` to its kernel.

Imports are looked at by import-linter, see setup.cfg.
"""

import ast
import configparser
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import emdref
import plain

PACKAGE = Path(emdref.__file__).parent
ROOT, ABOVE = PACKAGE.parent, ("__main__", "warming")
FILES = sorted(PACKAGE.rglob("*.py"))


def test_no_folder_is_crowded():
    for folder in {path.parent for path in FILES}:
        entries = [x for x in folder.iterdir() if x.suffix == ".py" or (x.is_dir() and any(x.glob("*.py")))]
        assert len(entries) <= (20 if folder == PACKAGE else 18), folder


def test_every_folder_says_what_lives_there():
    for path in FILES:
        if path.name == "__init__.py":
            assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") > 60, path


def test_the_page_for_contributors_draws_the_layers_that_are_kept():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    kept = config["importlinter:contract:emdref"]["layers"].replace("|", " ").split()
    drawn = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("<!-- layers -->")[2].split("```")[1]
    names = [name for line in drawn.splitlines()[1:] for name in line.removeprefix("emdref/").split("  ")]
    assert [name.strip() for name in names if name.strip() in kept] == [x for x in kept if x not in ABOVE]


def test_nobody_asks_what_kind_a_space_is():
    asked = re.compile(r"isinstance\([^)]*\b(Chain|Tree|Circle)\b")
    outside = [path for path in FILES if path.parent.name != "spaces" and asked.search(path.read_text("utf-8"))]
    assert outside == []


def test_a_space_is_known_to_few():
    """The circle: to its own file, to those that export it, and to what compiles everything beforehand."""
    assert len([path for path in FILES if re.search(r"\bCircle\b", path.read_text("utf-8"))]) <= 5


@pytest.mark.parametrize("space", ["Chain", "Circle", "Tree"])
@pytest.mark.parametrize("accuracy", ["native", "compensated"])
def test_from_emd_to_the_kernel_are_four_modules(space, accuracy, monkeypatch):
    library, seen = plain.load(), []
    where = library.Tree([-1, 0, 0, 1, 1, 2]) if space == "Tree" else getattr(library, space)(3)
    kernel = where.kernel(1.0, np.dtype(float), accuracy, False)

    def recorded(*args):
        frame, names = sys._getframe(), []
        while frame:
            name = frame.f_globals.get("__name__", "")
            if name.startswith("emdref") and names[-1:] != [name]:
                names.append(name)
            frame = frame.f_back
        seen.append(names[::-1])
        return kernel.loop(*args)

    monkeypatch.setattr(type(where), "kernel", lambda *_: kernel._replace(loop=recorded))
    assert library.emd([1.0, 0, 0], [0, 0, 1.0], where, accuracy=accuracy) > 0
    (route,) = seen
    route.append(inspect.getmodule(kernel.loop).__name__ if inspect.getmodule(kernel.loop) else kernel.loop.__module__)
    assert len(route) == len(set(route)) <= 4, route
