"""Mutation testing: how many small faults, put into the code one by one, do the tests find?

``python tests/mutation/run.py`` mutates a copy of the package under build/mutation with cosmic-ray (the extra
``mutation``), runs the tests of the plain kernels against each mutant, and writes REPORT.md beside this file.  Names of
modules run those alone; ``--report`` writes the report from what has been run; ``--workers 2`` takes two modules at a
time.  A stopped run goes on where it stopped, and a module whose source has changed starts again; ``--again`` tries the
survivors once more after tests were added, ``--fresh`` everything.

It ends with status 1 if the score is below 95% or if survivors.csv does not explain each survivor, no more and no less.
"""

import argparse
import contextlib
import csv
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "mutation"
KEY = ("module", "function", "before", "after")
LEAST = 95.0  # per cent

MODULES = {  # which tests of the plain kernels a module's mutants must face
    "kernels/arithmetic/lanes.py": "tiles floats",
    "kernels/arithmetic/floats.py": "floats two_limbs",
    "kernels/arithmetic/edges.py": "floats tiles",
    "kernels/tiles/inspection.py": "tiles",
    "kernels/tiles/plain.py": "tiles",
    "kernels/tiles/two_limbs.py": "tiles",
    "kernels/tiles/one_limb.py": "one_limb tiles",
    "kernels/rows/native.py": "native",
    "kernels/rows/hessian.py": "native",
    "kernels/trees/metric.py": "native",
    "kernels/rows/two_limbs.py": "two_limbs hessian bounds",
    "kernels/rows/hessian_two_limbs.py": "hessian",
    "kernels/rows/loops.py": "native two_limbs hessian loops",
    "kernels/rows/layers.py": "layers",
    "kernels/entropic/products.py": "entropic",
    "kernels/arithmetic/digits.py": "plan",
    "kernels/trees/kulisch.py": "kulisch",
    "kernels/trees/matching.py": "plan",
    "kernels/arithmetic/semirings.py": "semirings entropic",
    "kernels/entropic/alternation.py": "alternation",
    "exact/__init__.py": "exact",
    "exact/definitions.py": "exact",
    "proof/certificate.py": "certificate",
}
ENVIRONMENT = {"NUMBA_DISABLE_JIT": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def folder(module):
    return BUILD / module.removesuffix(".py").replace("/", "-")


def prepare(module):
    """A copy of package and tests, a configuration and a session, unless there is one."""
    place, source = folder(module), (ROOT / "emdref" / module).read_bytes()
    if (place / "session.sqlite").exists() and (place / "source").read_bytes() == source:
        return
    shutil.rmtree(place, ignore_errors=True)
    for name in ("emdref", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", place)
    configure(place, module)
    call(place, "cosmic-ray", "init", "config.toml", "fresh.sqlite")
    call(place, "cr-filter-operators", "fresh.sqlite", "config.toml")
    (place / "source").write_bytes(source)
    (place / "fresh.sqlite").rename(place / "session.sqlite")


def configure(place, module):
    text = (HERE / "config.toml").read_text()
    (place / "config.toml").write_text(text.replace("MODULE", f"emdref/{module}"))


def environment():
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **ENVIRONMENT, "PATH": tools}


def call(place, *command):
    return subprocess.run(command, cwd=place, env=environment(), check=True, stdout=subprocess.PIPE).stdout


@contextlib.contextmanager
def server(place, names):
    """Waits for those tests of plain kernels to be asked for, and has run them once on the unedited code."""
    tests = [str(x.relative_to(place)) for name in names.split() for x in place.glob(f"tests/*/test_plain_{name}.py")]
    command = [sys.executable, "tests/mutation/server.py", "serve", "socket", *tests]
    (place / "socket").unlink(missing_ok=True)
    with subprocess.Popen(command, cwd=place, env=environment()) as process:
        try:
            while not (place / "socket").exists() and process.poll() is None:
                time.sleep(0.1)
            call(place, "cosmic-ray", "baseline", "config.toml")
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def alone(module):
    """Two runs on one copy would end each other's server, and cosmic-ray takes a test that cannot start for a kill."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with folder(module).with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{module} is being run by another process: wait until it ends") from None
        yield


def forget_unproved(module):
    """Kills without a word from the tests, which a stopped server leaves behind."""
    with sqlite3.connect(folder(module) / "session.sqlite") as session:
        session.execute("DELETE FROM work_results WHERE test_outcome = 'KILLED' AND trim(output, ' \n') = ''")


def forget_survivors(module):
    with sqlite3.connect(folder(module) / "session.sqlite") as session:
        session.execute("DELETE FROM work_results WHERE test_outcome = 'SURVIVED'")


def mutate(module, again):
    with alone(module):
        go_on(module, again)


def go_on(module, again):
    """First put right what a stopped run may have left, and bring the tests up to date."""
    prepare(module)
    forget_unproved(module)
    shutil.copy(ROOT / "emdref" / module, folder(module) / "emdref" / module)
    shutil.copytree(ROOT / "tests", folder(module) / "tests", dirs_exist_ok=True)
    if again:
        forget_survivors(module)
    configure(folder(module), module)
    with server(folder(module), MODULES[module]):
        call(folder(module), "cosmic-ray", "exec", "config.toml", "session.sqlite")
    print(f"{module}: {summary(results(module))}", flush=True)


# --- what came of it --------------------------------------------------------------------------------------------------


def results(module):
    """(killed, timeout, survived or pending; mutant) of what was not filtered out and compiles."""
    found = []
    for line in call(folder(module), "cosmic-ray", "dump", "session.sqlite").decode().splitlines():
        work, result = json.loads(line)
        if result and result["worker_outcome"] == "skipped":
            continue
        outcome = (result or {}).get("test_outcome") or "pending"
        outcome = "timeout" if outcome == "killed" and result["output"].strip() == "timeout" else outcome
        outcome = "pending" if outcome == "killed" and not result["output"].strip() else outcome
        if outcome != "incompetent":
            found.append((outcome, mutant(work["mutations"][0], (result or {}).get("diff") or "")))
    return found


def mutant(mutation, diff):
    lines = [line for line in diff.splitlines() if line[:3] not in ("---", "+++")]
    before, after = (" ".join(x[1:].strip() for x in lines if x[:1] == sign) for sign in "-+")
    operator = mutation["operator_name"].removeprefix("core/")
    return {
        "line": mutation["start_pos"][0],
        "function": mutation.get("definition_name") or "",
        "operator": operator,
        "before": before,
        "after": after,
    }


def summary(found):
    counts = {outcome: sum(o == outcome for o, _ in found) for outcome in ("killed", "timeout", "survived", "pending")}
    dead = counts["killed"] + counts["timeout"]
    counts["score"] = 100 * dead / max(dead + counts["survived"], 1)
    return counts


def key(module, x):
    return module, x["function"], x["before"], x["after"]


def explained():
    """{(module, function, before, after): why} of survivors.csv."""
    with (HERE / "survivors.csv").open(newline="", encoding="utf-8") as file:
        return {tuple(row[k] for k in KEY): row["why"] for row in csv.DictReader(file)}


def report(modules):
    """Write REPORT.md; returns what is wrong."""
    found, why = {m: results(m) for m in modules}, explained()
    survivors = [(m, x) for m in modules for outcome, x in found[m] if outcome == "survived"]
    keys = {key(m, x) for m, x in survivors}
    everything = summary([x for m in modules for x in found[m]])
    rows = [(m, summary(found[m])) for m in modules] + [("**all**", everything)]
    lines = [
        "# Mutation score",
        "",
        "Written by `python tests/mutation/run.py`; the reasons are those of survivors.csv.",
        "",
        "| module | mutants | killed | timeout | survived | not run | score |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for m, c in rows:
        counts = [c[outcome] for outcome in ("killed", "timeout", "survived", "pending")]
        score = "not finished" if c["pending"] else f"{c['score']:.1f}%"
        lines.append(f"| {m} | {sum(counts)} | {' | '.join(map(str, counts))} | {score} |")
    lines += ["", f"Modules not begun: {', '.join(m for m in MODULES if m not in modules) or 'none'}."]
    lines += ["", "## Survivors", ""]
    for m, x in survivors:
        reason = why.get(key(m, x), "NOT EXPLAINED")
        lines += [f"- `{m}:{x['line']}` {x['function']}: `{x['before']}` → `{x['after']}`", f"  {reason}"]
    (HERE / "REPORT.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wrong = [f"not explained: {k}" for k in sorted(keys - why.keys())]
    wrong += [f"explained, but no survivor: {k}" for k in sorted(why.keys() - keys) if k[0] in modules]
    wrong += [f"{everything['pending']} mutants have not been run"] if everything["pending"] else []
    return wrong + ([f"the score is {everything['score']:.1f}%"] if everything["score"] < LEAST else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES), help="paths below emdref/; default all")
    parser.add_argument("--workers", type=int, default=1, help="modules at a time")
    parser.add_argument("--again", action="store_true", help="try survivors once more, after tests were added")
    parser.add_argument("--fresh", action="store_true", help="forget what has been run of these modules")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if options.fresh:
        for module in options.modules:
            shutil.rmtree(folder(module), ignore_errors=True)
    if not options.report:
        with ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(lambda module: mutate(module, options.again), options.modules))
    wrong = report([m for m in MODULES if (folder(m) / "session.sqlite").exists()])
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
