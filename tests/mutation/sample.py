"""Does the quick tier find what the whole suite finds?  Asked with a sample of faults in all kernels.

``python tests/mutation/sample.py --count 100`` draws faults from all modules, each in proportion to how many it has,
and tries them on the tests of the plain kernels, which are quick ones.  What these do not find, and survivors.csv does
not explain, is put into a copy of the tree, compiled, and tried on all quick tests and then on the slow ones: minutes
a fault.  ``--plain`` leaves it out, ``--most`` tries so many.  SAMPLE.md tells the score of both tiers and what
survived.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys

import run
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from tqdm import tqdm

TREE = run.BUILD / "compiled"
MODULES = {  # and the plain tests that their faults face first
    **run.MODULES,
    **dict.fromkeys(("kernels/tiles/plain_sums.py", "kernels/tiles/two_limb_sums.py"), "tiles"),
    **dict.fromkeys(
        (
            "kernels/trees/all_pairs.py",
            "kernels/entropic/domains.py",
            "kernels/trees/spanned.py",
            "kernels/trees/heavy_paths.py",
        ),
        "",
    ),
}
SECONDS = 3600  # what takes longer goes round in circles
TIERS = {"quick": "not slow", "slow": "slow"}


class Fault:
    """One mutant of a module."""

    def __init__(self, module, mutation):
        self.module, self.line, self.function = module, mutation.start_pos[0], mutation.definition_name or ""
        self.before = (run.ROOT / "emdref" / module).read_bytes()
        operator = get_operator(mutation.operator_name)(**mutation.operator_args)
        self.after = mutate_code(self.before.decode(), operator, mutation.occurrence)
        self.found = ""  # by which tests

    def change(self):
        """(before, after) as survivors.csv has them."""
        pairs = zip(self.before.decode().splitlines(), (self.after or "").splitlines(), strict=False)
        return next((a.strip(), b.strip()) for a, b in pairs if a != b)

    def put(self, package):
        (package / self.module).write_text(self.after, encoding="utf-8")

    def take_out(self, package):
        (package / self.module).write_bytes(self.before)


def draw(count, seed):
    """Faults of all modules, by the share that each has of all."""
    found = {}
    for module in MODULES:
        run.prepare(module)
        with use_db(str(run.folder(module) / "session.sqlite"), WorkDB.Mode.open) as session:
            results = dict(session.results)
            kept = [x for x in session.work_items if getattr(results.get(x.job_id), "worker_outcome", "") != "skipped"]
        found[module] = [Fault(module, x.mutations[0]) for x in sorted(kept, key=lambda x: repr(x.mutations))]
    total, chance = sum(map(len, found.values())), random.Random(seed)
    for faults in found.values():
        compiles = [x for x in faults if x.after is not None]
        yield from chance.sample(compiles, min(len(compiles), max(1, round(count * len(faults) / total))))


def try_plain(module, faults):
    place = run.folder(module)
    if not MODULES[module]:
        return
    shutil.copytree(run.ROOT / "tests", place / "tests", dirs_exist_ok=True)  # they may have changed since
    with run.server(place, MODULES[module]):
        for fault in faults:
            fault.put(place / "emdref")
            ask = [sys.executable, "-S", "tests/mutation/server.py", "ask", "socket"]
            found = subprocess.run(ask, cwd=place, env=run.environment(), stdout=subprocess.DEVNULL, check=False)
            fault.found = "plain" if found.returncode else ""
            fault.take_out(place / "emdref")


def fails(tier):
    """Whether the tests of a tier find something in the copy of the tree."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", TIERS[tier]]
    environment = {**os.environ, "PYTHONPATH": str(TREE), "EMDREF_CACHE_DIR": str(TREE / "cache")}
    try:
        return subprocess.run(command, cwd=TREE, env=environment, timeout=SECONDS, capture_output=True).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def try_compiled(faults):
    """First the unedited tree: where a test fails anyhow no fault is found."""
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.copytree(run.ROOT, TREE, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
    if wrong := [tier for tier in TIERS if fails(tier)]:
        raise SystemExit(f"the {' and the '.join(wrong)} tests fail without any fault")
    for fault in tqdm(faults, desc="compiled"):
        fault.put(TREE / "emdref")
        fault.found = next((tier for tier in TIERS if fails(tier)), "")
        fault.take_out(TREE / "emdref")
        print(f"{fault.module}:{fault.line} {fault.change()}: {fault.found or 'survived'}", flush=True)


def report(faults, tried, options):
    count = {found: sum(x.found == found for x in faults) for found in ("plain", "quick", "slow", "")}
    whole = count["plain"] + count["quick"] + count["slow"]
    why = run.explained()
    lines = [
        "# A sample of faults",
        "",
        f"Written by `python tests/mutation/sample.py --count {options.count} --seed {options.seed}`.",
        "",
        f"{len(faults)} faults: {count['plain']} found by tests of plain kernels, {count['quick']} more by other quick "
        f"tests, {count['slow']} by slow ones alone, {count['']} by none, of which {sum(not x.found for x in tried)} "
        "have been tried on the compiled kernels.",
        "",
        f"The quick tier's score is {100 * (whole - count['slow']) / len(faults):.1f}%, the whole suite's "
        f"{100 * whole / len(faults):.1f}%.",
        "",
    ]
    for x in faults:
        if x.found in ("slow", ""):
            before, after = x.change()
            reason = why.get((x.module, x.function, before, after), "no reason given")
            said = "slow tests alone" if x.found else "tried on all" if x in tried else "not tried on compiled kernels"
            lines += [f"- `{x.module}:{x.line}`: `{before}` → `{after}` ({said})", f"  {reason}"]
    (run.HERE / "SAMPLE.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="faults, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="on the plain kernels alone")
    parser.add_argument("--most", type=int, help="try at most so many on the compiled kernels")
    options = parser.parse_args()
    faults = list(draw(options.count, options.seed))
    for module in tqdm(MODULES, desc="plain"):
        try_plain(module, [x for x in faults if x.module == module])
    why = run.explained()
    survivors = [x for x in faults if not x.found and (x.module, x.function, *x.change()) not in why]
    tried = [] if options.plain else random.Random(options.seed).sample(survivors, len(survivors))[: options.most]
    if tried:
        try_compiled(tried)
    report(faults, tried, options)


if __name__ == "__main__":
    main()
