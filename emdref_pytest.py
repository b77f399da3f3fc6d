"""A pytest plugin: the fixture `emd_case`, histograms with their exact Earth Mover's Distance, one test a case.

It stands beside the package and not in it because pytest imports every plugin that is installed, in every project:
`import emdref` is put off until a test asks for a case.
"""

import pytest

_HELP = "{} of the cases that emd_case stands for, separated by commas: {} (default: what tests are marked with, or {})"


def pytest_addoption(parser):
    group = parser.getgroup("emdref", "implementations of the Earth Mover's Distance on cases with exact answers")
    group.addoption("--emd-grades", metavar="GRADES", help=_HELP.format("grades", "easy,ordinary,hard,hostile", "all"))
    group.addoption("--emd-spaces", metavar="SPACES", help=_HELP.format("spaces", "chain,tree,wordnet", "chain"))


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "emd_cases(grade, family, space, rho, dtype): which cases of emdref's casebook the fixture emd_case stands for,"
        " by name; space may be a Space of your own",
    )


def pytest_generate_tests(metafunc):
    if "emd_case" not in metafunc.fixturenames:
        return
    from emdref.proof import exact_case

    marker, config = metafunc.definition.get_closest_marker("emd_cases"), metafunc.config
    options = dict(marker.kwargs) if marker else {}
    if grades := config.getoption("--emd-grades"):
        options["grade"] = _names(grades)
    if (spaces := config.getoption("--emd-spaces")) and isinstance(options.get("space", ""), str):
        options["space"] = _names(spaces)
    try:
        if marker and marker.args:
            raise TypeError("give its arguments by name, as in emd_cases(grade='easy')")
        found = list(exact_case.cases(**options))
        if not (found or grades):  # what the command line leaves none of is skipped
            raise ValueError(f"no case of family {options['family']!r} is of grade {options['grade']!r}")
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: emd_cases: {error}") from None
    metafunc.parametrize("emd_case", found, ids=str, indirect=True)


def _names(text):
    return [name.strip() for name in text.split(",")]


@pytest.fixture
def emd_case(request):
    """A pair of histograms p, q on a space with exact answers, one after the other: an `EMDCase`.

    Use emd_case.p, .q, .space, .rho, .value, .exact_value, .grad(), .exact_grad(); .check_value(x) and .check_grad(g)
    assert that x and g are right to some ulp and say by how much they are off.
    """
    return request.param.fresh()
