"""What a release says of itself, the same in every place: version, requirements, and how figures were made."""

import configparser
import json
import re
from pathlib import Path

import pytest

import emdref

ROOT = Path(emdref.__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", "utf-8")
REQUIRED = CONFIG["options"]["install_requires"].split()
RECIPE = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("CHANGELOG.md", r"^## (.*)$"),
        ("CITATION.cff", r"^version: (.*)$"),
        ("packaging/conda/recipe.yaml", r'^  version: "(.*)"$'),
    ],
)
def test_the_version_is_said_everywhere(file, pattern):
    assert re.search(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE)[1] == emdref.__version__


def test_the_recipe_runs_with_what_setup_cfg_requires():
    run = RECIPE.partition("  run:\n")[2].partition("\n\n")[0]
    needed = [line.removeprefix("    - ").replace(" ", "") for line in run.splitlines()]
    python = CONFIG["options"]["python_requires"]
    assert needed[0] == "python>=${{python_min}}" and f'python_min: "{python.removeprefix(">=")}"' in RECIPE
    assert sorted(needed[1:]) == sorted(REQUIRED)


def test_pythons_are_named_from_the_oldest_on():
    named = re.findall(r":: 3\.(\d+)$", CONFIG["metadata"]["classifiers"], re.MULTILINE)
    assert list(map(int, named)) == list(range(int(named[0]), int(named[-1]) + 1))
    assert CONFIG["options"]["python_requires"] == f">=3.{named[0]}"
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    assert f'python: ["3.{named[0]}", "3.{named[-1]}"]' in workflow


@pytest.mark.skipif(not (ROOT / "figures").exists(), reason="an sdist holds no figures")
def test_figures_were_made_with_what_the_lock_says():
    lock = (ROOT / "packaging" / "figures.lock").read_text("utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    (python,) = re.findall(r"--python-version (\S+)", lock)
    records = {x.name: json.loads(x.read_text("utf-8")) for x in (ROOT / "figures").glob("*.json")}
    assert len(records) > 10
    for name, record in records.items():
        assert record["python"].startswith(f"{python}."), name
        assert record["versions"] == {x: locked[x] for x in record["versions"]}, name


def test_the_lock_holds_what_figures_need():
    lock = (ROOT / "packaging" / "figures.lock").read_text("utf-8")
    needed = [*REQUIRED, *CONFIG["options.extras_require"]["analysis"].split()]
    assert {re.split("[><=]", x)[0] for x in needed} <= set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert len(re.findall("--hash=sha256:[0-9a-f]{64}", lock)) > 100
