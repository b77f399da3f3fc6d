"""Build the graded reference data in docs/reference, which README.md there describes.

    python -m analysis.sources.reference [--out docs/reference]

Inputs come from `analysis.sources.reference_cases`, answers from `emdref.exact`; Sinkhorn's cases and answers, in
Decimals, from `analysis.sources.reference_sinkhorn`: the same bytes on every machine.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path

from analysis.sources import reference_cases, reference_sinkhorn
from emdref import Tree, exact

OUT = Path(__file__).parents[2] / "docs" / "reference"
SUMS = "SHA256SUMS"
GAUGES = ("raw", "zero_sum", "scaled", "normalized")
RHOS = (1, 2, 3)
MOST_DIGITS = 4300  # of an integer that Python reads from text


def answers(p, q, space):
    """Every answer about a pair on an emdref space, as rationals, by name."""
    found = {
        "flow": exact.flow(p, q, space),
        "flow_normalized": exact.flow(p, q, space, mass="normalize"),
        "value": [exact.emd(p, q, space, rho) for rho in RHOS],
        "value_normalized": [exact.emd(p, q, space, rho, mass="normalize") for rho in RHOS],
    }
    for gauge in GAUGES:
        found |= {f"gradient_{gauge}_{rho}": exact.grad(p, q, space, rho, gauge=gauge) for rho in RHOS}
    return found


def written(number):
    """A rational as text; what Python would refuse to read back is a ValueError."""
    text = str(number)
    if max(map(len, text.split("/"))) > MOST_DIGITS:
        raise ValueError(f"an answer has more than {MOST_DIGITS} digits: choose inputs of fewer octaves")
    return text


def case(family, name, space, dtype):
    """One case: what it is called, why it is there, inputs, answers."""
    title = f"{family.__name__} on {name}, {dtype.__name__}"
    p, q = family(title, len(space.bins), dtype)
    found = answers(p, q, Tree(space.parent, space.cost, space.bins))
    return {
        "name": title,
        "why": f"{family.__doc__[:-1]}, {space.phrase}.",
        "dtype": dtype.__name__,
        "space": space.kind,
        "parent": space.parent,
        "cost": [x.hex() for x in space.cost],
        "bins": space.bins,
        "p": [x.hex() for x in p],
        "q": [x.hex() for x in q],
        "answers": {key: [written(x) for x in numbers] for key, numbers in found.items()},
    }


def build():
    """All cases: a list for each grade."""
    spaces = reference_cases.spaces()
    return {
        grade: [
            case(family, name, spaces[name], dtype)
            for family, names, dtypes in groups
            for name in names.split()
            for dtype in dtypes
        ]
        for grade, groups in reference_cases.GRADES.items()
    }


def entries(mapping, indent):
    """The inside of a JSON object, a line an entry."""
    return (",\n" + indent).join(f"{json.dumps(key)}: {value}" for key, value in mapping.items())


def text(cases):
    """The cases as JSON, a line for each list of numbers."""
    lines = []
    for fields in cases:
        plain = {key: json.dumps(value) for key, value in fields.items() if key != "answers"}
        inner = entries({key: json.dumps(value) for key, value in fields["answers"].items()}, "   ")
        lines.append("{" + entries({**plain, "answers": "{\n   " + inner + "}"}, " ") + "}")
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write(grades, folder):
    """A JSON file for each grade and for Sinkhorn, and their checksums as sha256sum prints them."""
    folder, sums = Path(folder), []
    files = {grade: text(cases) for grade, cases in grades.items()} | {"sinkhorn": reference_sinkhorn.text()}
    for name, written_out in files.items():
        data = written_out.encode("ascii")
        (folder / f"{name}.json").write_bytes(data)
        sums.append(f"{sha256(data).hexdigest()}  {name}.json\n")
    (folder / SUMS).write_text("".join(sums), "ascii", newline="\n")


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources.reference", description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=OUT, help="an existing folder (default: docs/reference)")
    args = parser.parse_args(argv)
    try:
        grades = build()
        write(grades, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    counts = [f"{len(cases)} {grade}" for grade, cases in grades.items()]
    print(f"{args.out}:", ", ".join([*counts, f"{len(list(reference_sinkhorn.cases()))} Sinkhorn"]), "cases")


if __name__ == "__main__":
    main()
