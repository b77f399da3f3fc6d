"""The live page in a browser: bars are dragged, and every number that the page then shows is compared with emdref's.

Needs Playwright from PyPI and a Chromium, the one that CHROMIUM names or `chromium` on the path:

    python -m pytest -q -p no:cacheprovider docs/live/tests/page_test.py

Screenshots are kept in the folder that EMDREF_SCREENSHOTS names.  The page's numbers are those of its tables, whose
cells have every digit in `data[value]`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import emdref

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ImportError as error:
    raise RuntimeError("the tests of the live page need Playwright: python -m pip install playwright") from error

PAGE = Path(__file__).parents[1] / "index.html"
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
SIZES = {"wide": (1280, 900), "small": (390, 844)}
EXAMPLES = (
    *("chain", "circle", "tree", "ellyvan", "spikes-5", "spikes-25", "spikes-50"),
    *("figure-5", "hours", "underflow"),
)
LAMS = [float(f"{d}e{k}") for k in range(-1, 3) for d in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]  # where the slider stops
GAUGES = ("zero_sum", "raw", "scaled", "normalized")
EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.fail("there is no Chromium: install Debian's package chromium, or name one in CHROMIUM", pytrace=False)
    if not PAGE.is_file():
        pytest.fail(f"{PAGE} is missing: node docs/live/build.mjs makes it", pytrace=False)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        found = playwright.chromium.launch(executable_path=chromium, args=options)
        yield found
        found.close()


@dataclass
class Live:
    """The page in a window of one size, and what went wrong in it."""

    page: Page
    size: str
    faults: list[str]
    touch: object = None

    def settle(self) -> None:
        """Waits until what was asked for is drawn, Sinkhorn included."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_selector("body:not([data-waiting])")

    def ask(self, question: str):
        """What a function of look.js answers."""
        return self.page.evaluate(f"() => {{ {LOOK} return {question}; }}")

    def open(self, address: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(PAGE.as_uri() + address)
        self.settle()

    def begin(self, example: str) -> None:
        self.page.locator(f"[data-start={example}]").click()
        self.settle()

    def bar(self, side: str, k: int) -> tuple[float, float, float, float]:
        """Foot and far end of a bar's track in the window's pixels."""
        return tuple(self.ask(f"barEnds('{side}', {k})"))

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Presses at the first point, goes over the others and lets go, by mouse or, in the small window, by finger."""
        (x, y), rest = points[0], points[1:]
        if self.size == "wide":
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            for point in rest:
                self.page.mouse.move(*point)
            self.page.mouse.up()
        else:
            send = self.page.context.new_cdp_session(self.page).send
            send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
            for a, b in rest:
                send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": a, "y": b}]})
            send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.settle()

    def raise_bar(self, side: str, k: int, start: float, end: float) -> None:
        """Drags a bar from one part of its track's length to another."""
        x, y, far_x, far_y = self.bar(side, k)
        self.drag([(x + s * (far_x - x), y + s * (far_y - y)) for s in (start, (start + end) / 2, end)])

    def masses(self, side: str) -> np.ndarray:
        """What the bars stand for, to the last digit; the sliders say it without powers of ten, which ARIA lacks."""
        read = "(bars) => bars.map((bar) => [bar.dataset.mass, bar.getAttribute('aria-valuenow')])"
        exact, said = zip(*self.page.locator(f".bar[data-side={side}]").evaluate_all(read), strict=True)
        assert all(re.fullmatch(r"[0-9]+([.][0-9]+)?", text) for text in said)
        masses = np.array(exact, float)
        np.testing.assert_allclose(np.array(said, float), masses, rtol=0, atol=1e-18)
        return masses

    def top(self) -> float:
        """The mass of a bar that is as long as its track: the same for p and q, as their pictures show."""
        top = float(self.page.locator(".stage svg").get_attribute("data-top"))
        read = """(bars) => bars.map((bar) =>
          bar.querySelector(".fill").getBBox().height / bar.querySelector(".track").getBBox().height)"""
        shown = self.page.locator(".bar").evaluate_all(read)
        masses = np.concatenate([self.masses("p"), self.masses("q")])
        np.testing.assert_allclose(shown, np.minimum(masses / top, 1), atol=1e-3)
        return top

    def table(self, name: str) -> np.ndarray:
        """The numbers of a table, a row a row; what is no number is NaN."""
        rows = self.ask(f"numbersOf('{name}-table')")
        return np.array([[float(x.replace("Infinity", "inf")) for x in row] for row in rows])

    def number(self, name: str) -> float:
        return float(self.page.locator(f"#{name} data").first.get_attribute("value").replace("Infinity", "inf"))

    def words(self, name: str) -> str:
        return self.page.locator(f"#{name}").text_content()

    def space(self) -> emdref.Space:
        """The space of the lines of Python that the page offers, whose p and q are the sliders'."""
        lines = self.words("python").splitlines()
        found: dict = {}
        exec("\n".join(line for line in lines if not line.startswith(("print", "run"))), found)
        np.testing.assert_array_equal(found["p"], self.masses("p"))
        np.testing.assert_array_equal(found["q"], self.masses("q"))
        return found["space"]

    def shot(self, name: str) -> None:
        if folder := os.environ.get("EMDREF_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"live-{self.size}-{name}.png", full_page=True)


@pytest.fixture(scope="module", params=SIZES)
def window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Live]:
    """The page, open in a window; a request to anything but a file is a fault, and so is what the console says."""
    width, height = SIZES[request.param]
    size = {"width": width, "height": height}
    phone = request.param == "small"
    context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    live = Live(context.new_page(), request.param, [])
    live.page.on("console", lambda said: said.type in ("error", "warning") and live.faults.append(said.text))
    live.page.on("pageerror", lambda error: live.faults.append(str(error)))
    local = ("file:", "data:", "about:")
    live.page.on("request", lambda asked: asked.url.startswith(local) or live.faults.append(f"asks for {asked.url}"))
    live.open()
    yield live
    context.close()


@pytest.fixture
def live(window: Live) -> Iterator[Live]:
    yield window
    faults, window.faults[:] = list(window.faults), []
    assert not faults


def _near(found, expected, bound) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    bounds = np.broadcast_to(bound, expected.shape)[finite]
    worst = np.max(np.abs(found[finite] - expected[finite]) - bounds, initial=0.0)
    assert worst <= 0, f"{found} should be {expected}, beyond {bound} by {worst}"


def _compare_exact(live: Live) -> emdref.Space:
    """Values, flows, gradients in all gauges and the plan: the page rounds once, emdref as it promises."""
    space, p, q = live.space(), live.masses("p"), live.masses("q")
    bins, edges = live.table("bins"), live.table("edges")
    np.testing.assert_array_equal(bins[:, 1], p)
    np.testing.assert_array_equal(bins[:, 2], q)
    assert live.number("emd") == pytest.approx(emdref.emd(p, q, space), rel=EPS, abs=0)  # 1 ulp
    assert live.number("emd2") == pytest.approx(emdref.emd(p, q, space, rho=2), rel=EPS, abs=0)
    for rho, column in ((1, 2), (2, edges.shape[1] - 1)):
        phi = np.asarray(emdref.flow(p, q, space, rho=rho))
        phi = np.delete(phi, np.flatnonzero(space.parent < 0)) if isinstance(space, emdref.Tree) else phi
        np.testing.assert_array_equal(np.sign(edges[:, column]), np.sign(phi))
        _near(edges[:, column], phi, EPS * np.abs(phi))
        for j, gauge in enumerate(GAUGES):
            largest = np.abs(emdref.emd_grad(p, q, space, rho, gauge="raw")).max()
            bound = 10 * EPS * largest * {"scaled": len(p), "normalized": 2}.get(gauge, 1)  # 8 promised, 2 for the page
            _near(bins[:, 3 + 2 * j + rho - 1], emdref.emd_grad(p, q, space, rho, gauge=gauge), bound)
    _compare_plan(live, space, p, q)
    return space


def _compare_plan(live: Live, space: emdref.Space, p: np.ndarray, q: np.ndarray) -> None:
    """It takes all of p, fills q, and costs what EMD says."""
    names = live.page.locator("#plan-table tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [row.cells[0].textContent, row.cells[1].textContent])"
    )
    order = live.page.locator("#bins-table tbody th").all_text_contents()
    mass, way = live.table("plan")[:, 2], live.table("plan")[:, 3]
    inside = [k for k, pair in enumerate(names) if "the root" not in pair]  # where what rounding left over stays
    start, end = (np.array([order.index(names[k][side]) for k in inside]) for side in (0, 1))
    rounding = 4 * len(p) * EPS
    _near(np.bincount(start, mass[inside], len(p)), p, rounding)
    _near(np.bincount(end, mass[inside], len(p)), q, rounding)
    _near(way[inside], space.distance_matrix()[start, end], 0)
    _near((mass * way)[inside].sum(), emdref.emd(p, q, space), rounding * space.diameter)


def _compare_sinkhorn(live: Live, space: emdref.Space, lam: float, cap: int, dtype: str) -> str:
    """Two right programs differ by d in log u and log v: see sinkhorn.test.mjs, where d is derived."""
    p, q, trace = live.masses("p"), live.masses("q"), live.table("trace")
    marks = tuple(int(x) for x in trace[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rows failed: the status says so
        arrays = np.asarray(p, dtype), np.asarray(q, dtype)
        run = emdref.sinkhorn(*arrays, space, lam, max_iter=cap, kernel="dense", checkpoints=marks)
    assert marks[-1] == cap
    status = live.page.locator("#verdict").get_attribute("data-status")
    assert status == run.status
    if status != "iteration_limit":
        return status
    eps = float(np.finfo(dtype).eps)
    d = (2 * cap + 3) * eps * (len(p) + 4 + lam * space.diameter)
    exact = emdref.emd(p, q, space)
    _near(live.number("reading-sinkhorn"), run.value, 3 * d * run.value)
    _near(live.number("sinkhorn-value"), run.value, 3 * d * run.value)
    if exact > 0:
        _near(live.number("ratio"), run.value / exact, 4 * d * run.value / exact)
    _near(live.number("marginal"), run.marginal_error, 4 * d)
    gradient = live.table("bins")[:, -1]
    off = (d + 2 * eps * lam * np.abs(np.where(p > 0, run.grad, 0))) / lam
    _near(gradient, run.grad, off)
    for (_, value, *_), mark in zip(trace, marks, strict=True):
        one = run.checkpoints[mark].value
        _near(value, one, 3 * d * one)
    _compare_angle(live, space, run.grad, float(off.max()))
    return status


def _compare_angle(live: Live, space: emdref.Space, grad: np.ndarray, off: float) -> None:
    """Between the two gradients, each less its mean over the bins where p has mass."""
    p, q = live.masses("p"), live.masses("q")
    ours, theirs = (g[p > 0] - g[p > 0].mean() for g in (emdref.emd_grad(p, q, space), np.asarray(grad, float)))
    lengths = np.linalg.norm(ours), np.linalg.norm(theirs)
    if min(lengths) < 1e-6 * space.diameter:
        return
    degrees = np.degrees(np.arccos(np.clip(ours @ theirs / np.prod(lengths), -1, 1)))
    bound = 2 * np.sqrt(len(p)) * off / min(lengths) + np.sqrt(8 * len(p) * EPS)  # arccos near 1 has half the digits
    _near(live.number("angle"), degrees, np.degrees(bound))


def _settings(live: Live) -> tuple[float, int, str]:
    """lam, cap and dtype as the address has them."""
    fields = dict(part.split("=", 1) for part in live.page.evaluate("location.hash").lstrip("#").split("&"))
    return float(fields["lam"]), int(fields["cap"]), "float32" if fields["float32"] == "1" else "float64"


@pytest.mark.parametrize("example", EXAMPLES)
def test_numbers(live: Live, example: str):
    """As an example begins, then with a bar of p and one of q dragged; nothing is wider than the window."""
    live.begin(example)
    live.shot(example)
    assert live.page.locator(f"[data-start={example}]").get_attribute("aria-pressed") == "true"
    _compare_sinkhorn(live, _compare_exact(live), *_settings(live))
    n = len(live.masses("p"))
    for side, k, start, end in (("p", n // 2, 0.1, 0.45), ("q", n - 1, 0.7, 0.3)):
        before, top = live.masses(side), live.top()
        live.raise_bar(side, k, start, end)
        after = live.masses(side)
        assert after[k] == pytest.approx(end * top, abs=0.02 * top)
        assert after.sum() == pytest.approx(before.sum(), rel=1e-14)
        others = np.arange(n) != k
        if n <= 20 and before[others].sum() > 0:  # with more bins a drag paints, and may touch the neighbours
            share = before[others] / before[others].sum() * (before.sum() - after[k])
            _near(after[others], share, 1e-5 * share.max())
    _compare_sinkhorn(live, _compare_exact(live), *_settings(live))
    assert live.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_paint(live: Live):
    """With many bins a drag across sets each bar on its way to the height at which it was crossed."""
    live.begin("figure-5")
    before, top = live.masses("p"), live.top()
    (x0, y0, _, end), (x1, *_) = live.bar("p", 10), live.bar("p", 16)
    heights = np.linspace(0.05, 0.2, 7)
    points = [(x0 + (x1 - x0) * i / 6, y0 + s * (end - y0)) for i, s in enumerate(heights)]
    live.drag(points)
    after = live.masses("p")
    _near(after[10:17], heights * top, 0.02 * top)
    rest = np.r_[0:10, 17:50]
    share = before[rest] / before[rest].sum() * (1 - after[10:17].sum())
    _near(after[rest], share, 1e-5 * share.max())
    (x0, y0, _, end), (x1, *_) = live.bar("q", 5), live.bar("q", 44)
    live.drag([(x0 + (x1 - x0) * s, (y0 + end) / 2) for s in np.linspace(0, 1, 5)])
    _near(live.masses("q"), np.r_[np.zeros(5), np.full(40, 1 / 40), np.zeros(5)], 1e-5)  # more than all, in its shape
    _compare_exact(live)


def test_sinkhorn(live: Live):
    """Slider by slider, in both precisions, until it fails: every number beside emdref's dense kernel."""
    live.begin("chain")
    space, seen = _compare_exact(live), set()
    settings = ((0.5, 5, False), (10, 1, False), (100, 50, False), (3, 10, True), (15, 10, True), (20, 20, True))
    for lam, cap, float32 in settings:
        _slide(live, "lam", list(LAMS).index(lam))
        _slide(live, "cap", (1, 2, 3, 5, 10, 20, 50, 100, 200).index(cap))
        if live.page.locator("#float32").is_checked() != float32:
            live.page.locator(".switch").click()
        live.settle()
        assert live.words("lam-shown") == f"{lam:g}"
        assert live.words("cap-shown") == str(cap)
        seen.add(_compare_sinkhorn(live, space, lam, cap, "float32" if float32 else "float64"))
        seen.add(live.words("status"))
    live.shot("sinkhorn-broken")
    statuses = {"iteration_limit", "underflow", "nan"}
    assert seen == statuses | {"Close", "Close in value alone", "Stopped too early", "Underflow", "Broken"}


def _slide(live: Live, name: str, position: float) -> None:
    """Presses the slider where its thumb would stand at a position, then goes the rest by keys."""
    slider = live.page.locator(f"#{name}")
    slider.scroll_into_view_if_needed()
    low, high, step = (float(slider.get_attribute(key)) for key in ("min", "max", "step"))
    box = slider.bounding_box()
    x = box["x"] + 8 + (box["width"] - 16) * (position - low) / (high - low)
    (live.page.mouse.click if live.size == "wide" else live.page.touchscreen.tap)(x, box["y"] + box["height"] / 2)
    slider.focus()
    for _ in range(30):
        away = round((position - float(slider.input_value())) / step)
        if away == 0:
            break
        slider.press("ArrowRight" if away > 0 else "ArrowLeft")
    live.settle()


def test_gauges(live: Live):
    """A gauge that is chosen is the one drawn: the bars' heights go by its numbers."""
    live.begin("ellyvan")
    for j, gauge in enumerate(GAUGES):
        live.page.locator(f"label:has([value={gauge}])").click()
        live.settle()
        for rho in (1, 2):
            drawn = live.page.locator(f"#gradient{rho} rect").evaluate_all(
                "(bars) => bars.map((bar) => [bar.getBBox().y, bar.getBBox().height])"
            )
            zero = float(live.page.locator(f"#gradient{rho} .axis").evaluate("(line) => line.getBBox().y"))
            signed = [height if y < zero - 0.2 else -height for y, height in drawn]
            numbers = live.table("bins")[:, 3 + 2 * j + rho - 1]
            scale = np.abs(signed).max() / np.abs(numbers).max()
            _near(signed, scale * numbers, 1.0)  # pixels
    _compare_exact(live)


def test_arrows(live: Live):
    """The number on each edge is its flow, and an arrow's head is nearer to the end that it flows to."""
    live.begin("chain")
    shown = live.page.locator(".flow-number").all_text_contents()
    np.testing.assert_allclose([float(x) for x in shown], np.abs(live.table("edges")[:, 2]), atol=0.005)
    live.page.locator("#swap").click()
    live.settle()
    assert (live.table("edges")[:, 2] < 0).all()
    heads = live.page.locator(".flow-head").evaluate_all(
        "(heads) => heads.map((head) => head.points[0].x - head.points[1].x)"
    )
    assert len(heads) == 9 and all(x < 0 for x in heads)  # to the left now
    live.begin("circle")
    for rho, column in ((2, 3), (1, 2)):  # on a circle each has a flow of its own
        live.page.locator(f"label:has([name=rho][value='{rho}'])").click()
        live.settle()
        shown = live.page.locator(".flow-number").all_text_contents()
        np.testing.assert_allclose([float(x) for x in shown], np.abs(live.table("edges")[:, column]), atol=0.005)


def test_small_pictures(live: Live):
    """The plan's arrows, the heat maps' cells, the curve and Sinkhorn's gradient are those of the tables."""
    live.begin("ellyvan")
    masses = live.table("plan")[:, 2]
    masses = masses[masses > 1e-9]
    shown = [float(x) for x in live.page.locator(".plan-number").all_text_contents()]
    np.testing.assert_allclose(sorted(shown), sorted(masses), atol=0.005)
    opaque = "(cells) => cells.map((cell) => Number(cell.getAttribute('fill-opacity')) ** 2)"
    cells = live.page.locator("#heat-exact .cells rect").evaluate_all(opaque)
    np.testing.assert_allclose(sorted(cells), sorted(masses / masses.max()), atol=2e-3)
    trace, exact = live.table("trace"), live.number("emd")
    heights = live.page.locator("#trace .dots circle").evaluate_all("(dots) => dots.map((dot) => dot.cy.baseVal.value)")
    foot = float(live.page.locator("#trace .axis").evaluate("(line) => line.getBBox().y"))
    level = float(live.page.locator("#trace .exact-line").evaluate("(line) => line.getBBox().y"))
    np.testing.assert_allclose((foot - np.array(heights)) / (foot - level), trace[:, 1] / exact, atol=2e-3)
    theirs = live.table("bins")[:, -1]
    height = "(bars) => bars.map((bar) => bar.getBBox().height)"
    drawn = live.page.locator("#sinkhorn-gradient .sink").evaluate_all(height)
    scale = max(drawn) / np.abs(theirs - theirs.mean()).max()
    np.testing.assert_allclose(drawn, scale * np.abs(theirs - theirs.mean()), atol=1)


@pytest.mark.parametrize("other", ["spikes-5", "ellyvan"])
def test_another_example_while_a_bar_is_held(live: Live, other: str):
    """The example is as it is without the hand that held a bar of another, and the message about an address goes."""
    live.begin(other)
    shown = live.table("bins")
    live.open("#v=1&space=moebius")
    live.begin("spikes-25")
    assert live.words("message") == ""
    x, y, far_x, far_y = live.bar("p", 60)
    live.page.mouse.move((x + far_x) / 2, (y + far_y) / 2)
    live.page.mouse.down()
    live.page.evaluate("(name) => document.querySelector(`[data-start=${name}]`).click()", other)
    live.settle()
    live.page.mouse.move(x, y)
    live.page.mouse.move(far_x, far_y)
    live.page.mouse.up()
    live.settle()
    np.testing.assert_array_equal(live.table("bins"), shown)


def test_address(live: Live):
    """A reload, a copy in another tab and Back show the same numbers; an address that is wrong says so."""
    live.begin("tree")
    live.raise_bar("p", 1, 0.2, 0.6)
    live.page.locator("#copy").click()
    live.page.wait_for_timeout(50)
    assert "clipboard" in live.words("copied")
    address = live.page.evaluate("navigator.clipboard.readText()")
    assert address.startswith(PAGE.as_uri() + "#")
    shown = live.table("bins")
    live.page.reload()
    live.settle()
    np.testing.assert_array_equal(live.table("bins"), shown)
    live.begin("hours")
    live.page.go_back()
    live.settle()
    np.testing.assert_array_equal(live.table("bins"), shown)
    live.open("#" + address.partition("#")[2])
    np.testing.assert_array_equal(live.table("bins"), shown)
    _compare_sinkhorn(live, _compare_exact(live), *_settings(live))
    live.open("#v=1&space=moebius")
    assert "address" in live.words("message") and live.number("emd") > 0
    label = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    live.open(f"#v=1&space=chain&gaps=1&labels=a,{label}&p=1,0&q=0,1&rho=1&gauge=raw&lam=3&cap=9&float32=0")
    assert live.number("emd") == 1 and live.page.locator("img").count() == 0
    live.open()


def test_python(live: Live, capsys: pytest.CaptureFixture):
    """The lines of Python that the page offers run, and print what the page shows."""
    for example in ("tree", "hours", "underflow"):
        live.begin(example)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the example that fails
            exec(live.words("python"), {})
        first, *_, last = capsys.readouterr().out.splitlines()
        shown = [live.number("emd"), live.number("emd2")]
        np.testing.assert_allclose([float(x) for x in first.split()], shown, rtol=2 * EPS)
        value, status = last.split()
        assert status == live.page.locator("#verdict").get_attribute("data-status")
        assert float(value) == pytest.approx(live.number("sinkhorn-value"), rel=1e-4)


def test_turned(live: Live):
    """A window that changes its size, as a phone that is turned: the picture is drawn anew, and can be dragged."""
    live.begin("chain")
    width, height = SIZES[live.size]
    live.page.set_viewport_size({"width": height, "height": width})
    live.page.wait_for_timeout(100)
    live.settle()
    assert live.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    top = live.top()
    live.raise_bar("q", 0, 0.1, 0.5)
    assert live.masses("q")[0] == pytest.approx(0.5 * top, abs=0.02 * top)
    _compare_exact(live)
    live.page.set_viewport_size({"width": width, "height": height})
    live.page.wait_for_timeout(100)
    live.settle()


def test_unequal_totals(live: Live):
    """No number is shown and nothing rescaled until one asks for it."""
    live.open("#v=1&space=chain&gaps=1,2&p=1,1,0&q=0,0,0.5&rho=1&gauge=raw&lam=3&cap=9&float32=0")
    assert "–" in live.words("emd") and live.page.locator("#gradient1").is_hidden()
    np.testing.assert_array_equal(live.masses("p"), [1, 1, 0])
    live.shot("unequal")
    live.page.locator("#equalise").click()
    live.settle()
    np.testing.assert_array_equal(live.masses("p"), [0.5, 0.5, 0])
    np.testing.assert_array_equal(live.masses("q"), [0, 0, 1])
    _compare_exact(live)
    live.open()


def test_keyboard(live: Live):
    """Tab reaches the bars in turn, keys move them, focus is seen, and what happened is said."""
    live.begin("chain")
    live.page.locator("[data-start=underflow]").focus()
    live.page.keyboard.press("Tab")
    focus = "[document.activeElement.dataset.side, document.activeElement.dataset.bin].join()"
    while live.page.evaluate(focus) == ",":
        live.page.keyboard.press("Tab")
    assert live.page.evaluate(focus) == "p,0"
    live.page.keyboard.press("Tab")
    assert live.page.evaluate(focus) == "p,1"
    line = "getComputedStyle(document.activeElement.querySelector('.track')).strokeWidth"
    assert float(live.page.evaluate(line).removesuffix("px")) >= 2
    wanted = live.masses("p")[1]
    for key, change in (("ArrowUp", 0.01), ("ArrowLeft", -0.01), ("Shift+ArrowUp", 0.1), ("PageDown", -0.1)):
        live.page.keyboard.press(key)
        live.settle()
        wanted += change
        assert live.masses("p")[1] == pytest.approx(wanted, rel=1e-9)
        assert live.masses("p").sum() == pytest.approx(1, rel=1e-14)
    for key, mass in (("End", 1), ("Home", 0)):
        live.page.keyboard.press(key)
        live.settle()
        assert live.masses("p")[1] == mass
    _compare_exact(live)
    live.page.wait_for_timeout(900)  # it speaks when the hand rests
    assert live.words("spoken").startswith("p at bin 1 is 0. EMD is ")


def test_names_and_roles(live: Live):
    """What a screen reader is told, and what a finger must hit."""
    live.begin("chain")
    found = live.ask("namesAndRoles()")
    assert len(found["sliders"]) == 20 and len({name for name, *_ in found["sliders"]}) == 20
    for name, tab, now, low, high, text in found["sliders"]:
        assert name and tab == 0 and low == 0 <= now <= high and text
    assert found["twice"] == [] and found["headings"][0] == "H1" and found["headings"].count("H1") == 1
    assert found["landmarks"] == [1, 1, 1, 1] and found["labelled"] and found["nameless"] == 0 and found["tables"]
    assert found["small"] == []
    assert (found["spoken"], found["language"]) == ("polite", "en")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(live: Live, scheme: str):
    """WCAG AA: 4.5 between a text and what is behind it, 3 for large text and for bars beside what is round them."""
    live.page.emulate_media(color_scheme=scheme)
    live.begin("ellyvan")
    live.shot(scheme)
    faint = live.ask("faintOnes()")
    live.page.emulate_media(color_scheme="light")
    assert faint == []
    moving = "getComputedStyle(document.querySelector('.bar .fill')).transitionDuration"
    assert live.page.evaluate(moving) == "0s"


def test_one_file():
    """All of the page is in one file, less than 200 kB, and names no other."""
    text = PAGE.read_text()
    assert len(text.encode()) < 200_000
    assert "http:" not in text.replace("http://www.w3.org/", "") and "https:" not in text
    assert json.loads(PAGE.with_name("package.json").read_text())
