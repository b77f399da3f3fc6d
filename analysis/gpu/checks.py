"""Programs that judge: the tests of GPU kernels, and CUDA's checkers of memory and races; what their output says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator

from analysis.engine.cells import ROOT
from analysis.gpu.steps import Row, Step, tool
from emdref.kernels.compile.threads import processors

_OUTCOME = r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b"
_TEST = re.compile(rf"^(\S+::.*?) {_OUTCOME}")
_BESIDE = re.compile(rf"^\[gw\d+\] \[ *\d+%\] {_OUTCOME} (\S+::.*?)$")  # pytest-xdist
_WORKERS = 4
_REASON = re.compile(r"^(?:FAILED|ERROR) (\S+.*)$")
_SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)")
COUNTS = ("passed", "failed", "error", "skipped")
TOOLS = ("memcheck", "racecheck")


# --- tests ------------------------------------------------------------------------------------------------------------


def tests(seconds: float) -> Step:
    """The tests marked `gpu`, from the files that have any."""
    files = sorted(path for path in ROOT.glob("tests/**/test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8"))
    command = [
        sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", "--continue-on-collection-errors",
        "--tb=line", "-rfE", *(str(path.relative_to(ROOT)) for path in files),
    ]  # fmt: skip
    if importlib.util.find_spec("xdist") and processors() >= 2 * _WORKERS:
        command += ["-n", str(_WORKERS)]
    missing = "" if files else "no test is marked gpu"
    if importlib.util.find_spec("pytest") is None:
        missing = "pytest is not installed"
    return Step("tests", command, seconds, Outcomes().parse, summary, missing)


class Outcomes:
    """Rows of pytest's output, line by line: a line a test as it ends, then reasons of those that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []  # names, which may hold the dash that stands before a reason

    def parse(self, line: str) -> Row | None:
        """A row for a test that ended, or for the reason of a failure."""
        line = line.rstrip()
        if reason := _REASON.match(line):
            return self._reason(reason[1])
        alone, beside = _TEST.match(line), _BESIDE.match(line)
        if not alone and not beside:
            return None
        name, outcome = alone.groups() if alone else beside.groups()[::-1]
        if outcome in ("FAILED", "ERROR"):
            self.failed.append(name)
        return {"part": "test", "name": name, "method": outcome.lower()}

    def _reason(self, text: str) -> Row:
        known = (name for name in self.failed if f"{text} - ".startswith(f"{name} - "))
        name = next(known, text.partition(" - ")[0])
        said = text.removeprefix(name).removeprefix(" - ")
        return {"part": "reason", "name": name, "note": f"failed: {said}".strip()}


def summary(code: int | None, rows: list[Row]) -> Row:
    """How many passed, failed, broke and were skipped; a run that is no success says so."""
    outcomes = [row["method"] for row in rows if row["part"] == "test"]
    reasons = [row for row in rows if row["part"] == "reason"]
    counts = {name: outcomes.count(name) for name in COUNTS}
    broken = len(reasons) - counts["failed"] - counts["error"]  # files that could not be collected
    counts["error"] += max(broken, 0)
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no test ran"
    row: Row = counts | {"method": told}
    if counts["failed"] or counts["error"] or not counts["passed"]:
        return row | {"note": f"failed: {told}"}
    return row if code in (0, None) else row | {"note": f"failed: {told}, status {code}"}


# --- checkers ---------------------------------------------------------------------------------------------------------


def sanitizers(seconds: float, simulated: bool) -> Iterator[Step]:
    """Every kernel once on small rows, under each checker."""
    program = tool("compute-sanitizer")
    missing = "simulated" if simulated else "" if program else "compute-sanitizer is not installed"
    for name in TOOLS:
        command = [
            str(program),
            "--tool",
            name,
            "--target-processes",
            "all",
            sys.executable,
            "-m",
            "analysis.gpu.every_kernel",
        ]
        yield Step(name, command, seconds, report, verdict, missing)


def report(line: str) -> Row | None:
    """A row of what a checker found, or of the program's own steps."""
    found = _SUMMARY.search(line)
    if found:
        return {"part": "checker", "differ": int(found[1]), "note": line.strip("= \n")}
    if line.startswith("========= ") and re.search(r"Invalid|hazard|Error:|Internal|not supported|leaked", line):
        return {"part": "checker", "note": line.strip("= \n")[:300]}
    return {"part": "checked", "name": line.split(":", 1)[1].strip()} if line.startswith("checked:") else None


def verdict(code: int | None, rows: list[Row]) -> Row:
    """Errors counted; without a summary there is no verdict."""
    counted = [row["differ"] for row in rows if "differ" in row]
    seen = sum(row["part"] == "checked" for row in rows)
    if not counted:
        said = next((row["note"] for row in rows if row["part"] == "checker"), "it gave no summary")
        return {"note": f"no verdict: {said}"}
    row: Row = {"differ": sum(counted), "method": f"{sum(counted)} errors in {seen} calls"}
    if not seen:
        return row | {"note": "no verdict: not one call was made"}
    return row | ({"note": f"failed: {row['method']}"} if row["differ"] else {})
