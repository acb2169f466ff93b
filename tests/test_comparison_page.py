"""The comparison of many rows: what is marked and why, as Markdown, and as a page in headless Chromium."""

import json
import math
import re

import numpy as np
import pytest

from crvae3d.errors import InputError
from crvae3d.viewers.comparison import (
    Comparison,
    Estimate,
    Row,
    Sweep,
    comparison_page,
    markdown_table,
    write_comparison,
)
from tests import test_page
from tests.test_page import HOSTILE

chromium = test_page.chromium
COLUMNS = ("svm_accuracy", "knn_accuracy", "chamfer", "consistency_gap/jitter", "rate")
WEIGHTS = (0.0, 0.01, 0.1, 1.0)


def estimate(*values: float | None) -> Estimate:
    """Of up to three seeds: the interval is a plain deviation on either side, which is all that the page needs."""
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known)
    if len(known) < 2:
        return Estimate(mean, None, None, None, values)
    deviation = float(np.std(known, ddof=1))
    return Estimate(mean, deviation, mean - deviation, mean + deviation, values)


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, (high - low) / 4, low, high, (low, high))


def row(number: int, name: str, group: str, seeds: int = 3, **changes) -> Row:
    """Row `number` gains `number` parts in a thousand over number 0, which is the reference."""
    wobble = [0.0, 0.001, 0.002][:seeds]
    bases = {"svm_accuracy": 0.88, "knn_accuracy": 0.8, "chamfer": 0.007, "rate": 38.0}
    factors = {"chamfer": -0.01}
    figures = {
        figure: estimate(*(base + factors.get(figure, 1) * number / 1000 + each for each in wobble))
        for figure, base in bases.items()
    }
    differences = {
        figure: estimate(*(factors.get(figure, 1) * number / 1000 + each / 2 for each in wobble)) for figure in bases
    }
    robustness = {family: [estimate(*(0.8 - step / 10 + e for e in wobble)) for step in (1, 2)] for family in "ab"}
    fields = {"figures": figures, "differences": differences if number else {}, "robustness": robustness}
    return Row(name, group, reference=number == 0, **(fields | changes))


def comparison(names=tuple(f"row {number}" for number in range(45)), seeds: int = 3, **changes) -> Comparison:
    """Nine groups of five; the last row is a control that gains a lot, and the one before it lacks figures."""
    rows = [row(number, name, f"group {number // 5}", seeds) for number, name in enumerate(names[:-2])]
    rows.append(row(-1, names[-2], "group 8", seeds, figures={"svm_accuracy": None}, differences={}, robustness={}))
    rows.append(row(900, names[-1], "group 8", seeds, control=True))
    fields = {
        "title": "Rows",
        "summary": "One.\n\nTwo.",
        "rows": rows,
        "columns": COLUMNS,
        "sweep": Sweep("a weight", WEIGHTS, names[:4]) if len(names) > 4 else None,
        "strengths": (1, 3),
    }
    return Comparison(**(fields | changes))


@pytest.mark.parametrize(
    ("figure", "low", "high", "verdict"),
    [("svm_accuracy", 0.1, 0.2, "better"), ("svm_accuracy", -0.2, -0.1, "worse"), ("svm_accuracy", -0.1, 0.2, ""),
     ("svm_accuracy", 0.0, 0.2, ""), ("chamfer", 0.1, 0.2, "worse"), ("chamfer", -0.2, -0.1, "better"),
     ("robust/jitter", 0.1, 0.2, "better"), ("rate", 0.1, 0.2, "differs"), ("rate", -0.1, 0.2, "")],
)  # fmt: skip
def test_a_row_is_told_from_the_reference_where_zero_lies_outside_the_interval(figure, low, high, verdict):
    assert Row("a", "", {}, {figure: between(low, high)}).verdict(figure) == verdict


def test_without_an_interval_nothing_is_told_apart():
    assert Row("a", "", {}, {"chamfer": estimate(-0.5), "rate": None}).verdict("chamfer") == ""
    assert Row("a", "", {}).verdict("chamfer") == ""


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: comparison(names=("a", "b", "a", "c")), "name of its own"),
        (lambda: comparison(columns=("rate", "rate")), "figure of its own"),
        (
            lambda: comparison(rows=[row(0, "a", ""), row(0, "b", "")]),
            r"one row can be the reference, got \['a', 'b'\]",
        ),
        (lambda: comparison(rows=[row(1, "a", "")]), "mark it as the reference"),
        (lambda: comparison(sweep=Sweep("x", (0.0,), ("z",))), r"the sweep has rows \['z'\]"),
        (lambda: comparison(strengths=(1, 2, 3)), "row 0, a: .* 3 strengths, 2 estimates"),
        (lambda: Sweep("x", (0.0, 1.0), ("a",)), "2 weights, 1 rows"),
        (lambda: Sweep("x", (0.0, -1.0), ("a", "b")), "not below 0"),
        (lambda: Sweep("x", (1.0, 0.1), ("a", "b")), "must rise"),
        (lambda: comparison().row("row 45"), "did you mean 'row 5'"),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_sweep_is_laid_out_by_logarithm_and_zero_stands_left_of_all():
    places = Sweep("x", WEIGHTS, tuple("abcd")).places
    assert places[1:] == pytest.approx([-2, -1, 0]) and places[0] < -2.5
    assert Sweep("x", (0.0,), ("a",)).places[0] < 0


def test_markdown_marks_what_is_told_apart_and_prints_means_and_intervals_to_the_same_decimals():
    rows = [
        Row("base", "A", {"svm_accuracy": between(0.88, 0.9), "consistency_gap": between(850, 860)}, reference=True),
        Row(
            "up|*x*",
            "B",
            {"svm_accuracy": between(0.9, 0.91), "consistency_gap": between(0.0112, 0.0134)},
            {"svm_accuracy": between(0.001, 0.03), "consistency_gap": between(-900, -800)},
        ),
        Row("down", "B", {"svm_accuracy": between(0.7, 0.7)}, {"svm_accuracy": between(-0.2, -0.1)}, control=True),
        Row("same", "B", {"svm_accuracy": estimate(0.8991)}, {"svm_accuracy": between(-0.01, 0.01)}, chosen=True),
    ]
    text = markdown_table(Comparison("", "", rows, COLUMNS), ["svm_accuracy", "consistency_gap"])
    assert text.splitlines()[:6] == [
        "|  |  | Linear SVM, codes, % ↑ | Consistency gap, nats ↓ |",
        "| --- | --- | ---: | ---: |",
        "| A | base (reference) | 89.0 ± 1.0 | 855 ± 5 |",
        r"| B | up\|\*x\* | **90.5 ± 0.5** | **0.0123 ± 0.0011** |",
        "|  | down (control) | *70.0 ± 0.0* | – |",
        "|  | same (chosen) | 89.9 | – |",
    ]
    told = text.split("\n\n")[1]
    assert "2 seeds" in told and "**Bold** is better than base and *italics* are worse" in told


def test_markdown_names_stay_names():
    hostile = comparison(names=(*HOSTILE, "a\n| b | `c` [d](http://e) @f $g$ _h_"))
    lines = markdown_table(hostile, COLUMNS).split("\n\n")[0].splitlines()
    unescaped = [re.sub(r"\\.", "", line) for line in lines]
    assert len(lines) == 2 + 4 and {line.count("|") for line in unescaped} == {3 + len(COLUMNS)}
    assert not re.search(r"[<>`$@\[\]_]|http:|\*[a-z]", "".join(unescaped[2:]))


def test_one_seed_has_no_intervals_and_says_so():
    text = markdown_table(comparison(seeds=1), COLUMNS)
    assert "±" not in text and "**" not in text and "One seed: there are no intervals" in text
    page = comparison_page(comparison(seeds=1))
    assert "One seed" in page and "±" not in page[page.index("<main>") : page.index("</main>")]


def cells(page: str, column: int) -> dict[str, tuple[str, str]]:
    """(classes, text) of a column of the table by row name."""
    rows = re.findall(r'<tr data-row="\d+".*?<th .*?>(.*?)<.*?</th>(.*?)</tr>', page)
    found = {name: re.findall(r'<td class="(.*?)">(.*?)</td>', row)[column] for name, row in rows}
    return {name: (kind, re.sub("<.*?>", "", text)) for name, (kind, text) in found.items()}


def test_the_best_row_and_better_controls_are_bold_and_equal_digits_are_a_tie():
    figures = {
        "a": (0.004512, 0.9),
        "b": (0.004508, 0.8),
        "c": (0.0052, 0.7),
        "floor": (0.003, 0.1),
        "gone": (None, None),
    }
    rows = [
        Row(
            name,
            "",
            {name: value and estimate(value) for name, value in zip(("chamfer", "svm_accuracy"), values, strict=True)},
            control=name == "floor",
        )
        for name, values in figures.items()
    ]
    page = comparison_page(Comparison("", "", rows, ("chamfer", "svm_accuracy", "rate")))
    assert cells(page, 0) == {
        "a": ("best", "4.51"),
        "b": ("best", "4.51"),
        "c": ("", "5.20"),
        "floor": ("best", "3.00"),
        "gone": ("", "–"),
    }
    assert [name for name, (kind, _) in cells(page, 1).items() if kind] == ["a"]
    assert set(cells(page, 2).values()) == {("", "–")}


def test_figures_that_are_not_finite_are_told_and_not_drawn():
    broken = Estimate(math.nan, math.nan, math.nan, math.nan, (math.nan, math.inf))
    rows = [row(0, "a", ""), row(1, "b", "", figures={"chamfer": broken}, differences={"chamfer": broken})]
    page = comparison_page(comparison(rows=rows, sweep=Sweep("x", (0.0, 1.0), ("a", "b"))))
    assert cells(page, 2)["b"][1] == "not a number ± not a number"
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["rows"][1]["means"][2] is None and data["sweep"]["plots"][1]["points"][1] is None
    assert data["rows"][1]["details"][2][0] == "seeds: not a number, infinite"


@pytest.mark.parametrize(
    "view", [{}, {"width": 390, "height": 844, "phone": True, "dark": True}], ids=["desk", "phone"]
)
def test_the_page_draws_45_rows_without_errors_or_requests(chromium, tmp_path, view):
    path = write_comparison(tmp_path / "new" / "page.html", comparison())
    chromium.open(path, **view)
    assert chromium.problems() == [] and chromium.requests() == [path.as_uri()]
    count = "document.querySelectorAll({!r}).length"
    assert chromium.run(count.format(".cells [data-row]")) == 45 and chromium.run(count.format(".cells .group")) == 9
    assert chromium.run(count.format("#forest [data-row]")) == 43
    assert chromium.run(count.format("#weights .points path")) == 2 * 4
    assert chromium.run(count.format("#weights .yerror")) == 2 * 4
    assert chromium.run(count.format("#families path.js-line")) == 2 * 2  # two families; the reference and the control
    assert chromium.run("document.documentElement.scrollWidth") == view.get("width", 1200)
    paper = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (not view.get("dark", False))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_comparison(tmp_path_factory.mktemp("whole") / "page.html", comparison())


def look(chromium, path) -> None:
    """Open a page where it is not open yet: reading plotly takes seconds, and no two tests touch the same section."""
    if chromium.run("location.href") != path.as_uri():
        chromium.open(path)


def point_at(chromium, selector: str) -> str:
    x, y = chromium.middle(selector)
    chromium.settle()  # a scroll hides what is told, and its event comes with the next frame
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    chromium.settle()
    return chromium.run("detail.hidden ? '' : [...detail.children].map(line => line.textContent).join('\\n')")


def test_hovering_tells_seeds_and_the_difference(chromium, whole):
    look(chromium, whole)
    assert point_at(chromium, ".cells [data-row='3'] td:nth-of-type(1)").splitlines() == [
        "row 3: Linear SVM, codes, %",
        "seeds: 88.3, 88.4, 88.5",
        "95 % interval: 88.3 to 88.5, deviation 0.1",
        "from row 0: +0.35 (0.30 to 0.40), better",
    ]
    assert point_at(chromium, ".cells [data-row='43'] td:nth-of-type(3)").splitlines()[1:] == ["not measured"]
    assert "Higher is better" in point_at(chromium, ".cells thead th:nth-child(2)")
    assert point_at(chromium, ".cells [data-row='3'] th") == ""
    assert point_at(chromium, "#forest [data-row='3'] .strip").startswith("row 3\nseeds: 88.3")
    assert point_at(chromium, "h1") == ""


def test_a_click_on_a_head_sorts_best_first_then_worst_then_as_it_was(chromium, whole):
    look(chromium, whole)
    order = "[...document.querySelectorAll('.cells [data-row]')].map(row => Number(row.dataset.row))"
    chamfer = ".cells thead th:nth-child(4)"  # the higher a row's number, the smaller
    sort = f"document.querySelector('{chamfer} button').click()"
    state = f"document.querySelector('{chamfer}').ariaSort"
    groups = "document.querySelectorAll('.cells .group').length"
    chromium.run(sort)
    assert chromium.run(order) == [44, *range(42, -1, -1), 43] and chromium.run(state) == "ascending"
    assert chromium.run(groups) == 0
    chromium.run("grouped.click()")
    assert chromium.run(order)[:6] == [4, 3, 2, 1, 0, 9] and chromium.run(groups) == 9
    chromium.run(f"grouped.click(), {sort}")
    assert chromium.run(order) == [*range(43), 44, 43] and chromium.run(state) == "descending"
    chromium.run(sort)
    assert chromium.run(order) == list(range(45)) and chromium.run(state) == "none" and chromium.run(groups) == 9
    chromium.run("document.querySelector('.cells thead th:nth-child(2) button').click()")
    assert chromium.run(order)[:2] == [44, 42]


def test_curves_are_chosen_by_name_and_six_at_most(chromium, whole):
    look(chromium, whole)
    shown = "[...document.querySelectorAll('#selected button')].map(each => each.textContent)"
    add = "more.value = '{}', more.dispatchEvent(new Event('change'))"
    assert chromium.run(shown) == ["row 0×", "row 44×"]
    assert chromium.run("[...more.options].some(option => option.value === '43')") is False  # it has no curves
    for number in (5, 6, 7, 8):
        chromium.run(add.format(number))
    assert chromium.run(shown) == ["row 0×", "row 44×", "row 5×", "row 6×", "row 7×", "row 8×"]
    assert (
        chromium.run("more.disabled") and chromium.run("document.querySelectorAll('#families .js-line').length") == 12
    )
    chromium.run("document.querySelectorAll('#selected button')[1].click()")
    assert "row 44×" not in chromium.run(shown) and not chromium.run("more.disabled")
    assert chromium.run("document.querySelectorAll('#families .js-line').length") == 10
    assert chromium.problems() == []


def test_the_forest_shows_the_chosen_figure_with_zero_in_its_place(chromium, tmp_path):
    rows = [row(0, "base", "")]
    spans = {
        "up": (0.01, 0.03),
        "flat": (-0.01, 0.02),
        "down": (-0.03, -0.01),
        "far": (-0.9, -0.8),
        "also": (-0.02, 0.01),
    }
    for name, span in spans.items():
        rows.append(Row(name, "", {}, {"svm_accuracy": between(*span), "rate": between(*span)}))
    chromium.open(write_comparison(tmp_path / "page.html", comparison(rows=rows, sweep=None)))
    place = (
        "(name, kind) => [...document.querySelectorAll('#forest [data-row]')].find(line => line.firstChild.textContent"
    )
    place = f"({place} === name).querySelector('.strip .' + kind)?.getBoundingClientRect().toJSON())"
    box = {
        (name, kind): chromium.run(f"({place})({name!r}, {kind!r})") for name in spans for kind in ("mean", "interval")
    }
    zero = chromium.run(f"({place})('up', 'zero')")["x"]
    unit = (box["up", "interval"]["width"]) / 0.02
    for name, (low, high) in spans.items():
        if name == "far":
            assert box[name, "mean"] is None and chromium.run(f"({place})('far', 'left')")
            continue
        assert box[name, "interval"]["x"] == pytest.approx(zero + unit * low, abs=1.5)
        assert box[name, "mean"]["x"] + 4 == pytest.approx(zero + unit * (low + high) / 2, abs=1.5)
    names = "[...document.querySelectorAll('#forest [data-row]')].map(line => line.firstChild.textContent)"
    assert chromium.run(names) == ["up", "flat", "also", "down", "far"]
    assert chromium.run("counts.textContent") == "1 better2 worse2 not told apart"
    chromium.run("figure.value = '4', figure.dispatchEvent(new Event('change')), ordered.click()")
    assert chromium.run(names) == list(spans) and chromium.run("counts.textContent") == "3 different2 not told apart"


def test_hostile_names_stay_names(chromium, tmp_path):
    bad = HOSTILE[0]
    hostile = comparison(names=(*HOSTILE, "x", "y"), title=bad, summary=bad, notes=HOSTILE, settings={bad: bad})
    rows = [
        Row(each.name, HOSTILE[1], each.figures | {bad: estimate(1.0, 2.0)}, each.differences, {bad: each.robustness["a"]},
            reference=each.reference, chosen=True)
        for each in hostile.rows[:3]
    ]  # fmt: skip
    sweep = Sweep(bad, (0.0, 1.0, 2.0), HOSTILE)
    hostile = comparison(rows=rows, title=bad, summary=bad, notes=HOSTILE, columns=(*COLUMNS, bad), sweep=sweep)
    chromium.open(write_comparison(tmp_path / "page.html", hostile))
    assert point_at(chromium, ".cells [data-row='1'] td").startswith(f"{HOSTILE[1]}: Linear SVM")
    chromium.run("document.querySelector('.cells thead button').click()")
    x, y = chromium.middle("#weights .points path:nth-child(3)")
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    chromium.wait("document.querySelector('.hovertext')")
    assert HOSTILE[2] in chromium.run("document.querySelector('.hovertext').textContent")
    assert chromium.run("window.broken") is None
    assert chromium.run("document.querySelectorAll('img, a, [onmouseover], [onerror]').length") == 0
    assert chromium.problems() == [] and len(chromium.requests()) == 1
    texts = "[...document.querySelectorAll('{}')].map(e => e.firstChild.textContent)"
    assert chromium.run(texts.format("title, h1, #families h3")) == [bad, bad, bad.replace("_", " ") + " "]
    assert sorted(chromium.run(texts.format(".cells [data-row] th"))) == sorted(HOSTILE)
    assert sorted(chromium.run(texts.format("#forest [data-row]"))) == sorted(HOSTILE[1:])
    assert chromium.run("[...selected.children].map(e => e.childNodes[1].textContent)") == list(HOSTILE)


def test_a_bare_comparison_has_a_table_and_no_empty_sections(chromium, tmp_path):
    bare = Comparison("Bare", "", [Row("only", "", {"chamfer": estimate(0.00456)})], ("chamfer",))
    chromium.open(write_comparison(tmp_path / "bare.html", bare))
    assert chromium.problems() == []
    assert chromium.run("[...document.querySelectorAll('section')].filter(e => !e.hidden).map(e => e.id)") == [
        "comparison"
    ]
    assert chromium.run("document.querySelector('td').textContent") == "4.56"
    chromium.open(write_comparison(tmp_path / "one.html", comparison(seeds=1)))
    assert chromium.problems() == []
    assert chromium.run("document.querySelectorAll('#forest .mean').length") > 0
    assert chromium.run("document.querySelectorAll('#forest .interval, .cells .better, .cells .worse').length") == 0


def test_a_path_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot write the page .* name a file"):
        write_comparison(tmp_path, comparison())
