"""Figures as numbers in a table, as pictures, and as the map of the codes."""

import base64
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers import comparison_data, comparison_figures
from crvae3d.viewers.compared import Comparison, Row, Sweep
from crvae3d.viewers.comparison_figures import robustness_figure, tradeoff_figure
from crvae3d.viewers.explained import FIGURES, about, explain
from crvae3d.viewers.figures import MODEL_COLOURS, clouds_figure
from crvae3d.viewers.page import MISSING, page
from crvae3d.viewers.projection import LIMIT, choose, project
from crvae3d.viewers.report import Gallery, ModelReport, Report


def rows(text: str) -> dict[str, list[tuple[str, bool]]]:
    """The printed table: (text, marked as best) by row title."""
    found = re.findall(r'<tr><th scope="row" class="what"><div>(.*?)(?: <span>.*?)?</div></th>(.*?)</tr>', text)
    cells = {title: re.findall(r'<td class="(.*?)">(.*?)</td>', row) for title, row in found}
    return {title: [(value, "best" in kind) for kind, value in row] for title, row in cells.items()}


def test_the_best_value_of_a_row_is_marked_controls_included():
    models = [
        ModelReport("a", {"svm_accuracy": 0.9, "chamfer": 0.00451, "consistency_gap/jitter": 2.0, "rate": 3.0}),
        ModelReport(
            "b", {"svm_accuracy": 0.8, "chamfer": 0.004512, "consistency_gap/jitter": float("nan"), "rate": 4.0}
        ),
        ModelReport("c", {"svm_accuracy": 0.7, "chamfer": 0.0052, "consistency_gap/jitter": 12.0}),
    ]
    table = rows(page(Report("", "", models, controls={"untrained": {"svm_accuracy": 0.91}})))
    assert table == {
        "Linear SVM, codes": [("90.0", False), ("80.0", False), ("70.0", False), ("91.0", True)],
        "Chamfer distance": [("4.51", True), ("4.51", True), ("5.20", False), ("–", False)],
        "Consistency gap: jitter": [("2.00", True), ("not a number", False), ("12.0", False), ("–", False)],
        "Rate": [("3.00", False), ("4.00", False), ("–", False), ("–", False)],
    }


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("consistency_gap", 0, "0"), ("consistency_gap", 298.4, "298"), ("consistency_gap", 0.0123, "0.0123"),
     ("bound", -1234.5, "−1,234"), ("svm_accuracy", 0.9109, "91.1"), ("chamfer", float("inf"), "infinite"),
     ("svm_accuracy", -0.0004, "0.0"), ("robust/jitter", 0.8123, "81.2"), ("log_likelihood_1000", 2.3456, "2.35"),
     ("few_shot_5_10", 0.9, "90.0"), ("nmi", 0.71234, "0.712"), ("recall_10", 1, "100.0")],
)  # fmt: skip
def test_figures_are_printed_in_their_units(name, value, shown):
    assert explain(name).show(value) == shown


def test_figures_of_the_pooled_features_are_told_as_those_of_the_codes_and_stand_below_them():
    assert explain("svm_accuracy_pooled").title == "Linear SVM, pooled features"
    assert explain("retrieval_map_pooled").title == "Retrieval, mean average precision, pooled features"
    assert (
        explain("robust_pooled/so3/5").title == "Corrupted shapes, pooled features: turned about any axis, strength 5"
    )
    assert explain("nmi_pooled").show(0.5) == "0.500" and "before the posterior" in about("nmi_pooled")
    assert (
        explain("few_shot_5_10_deviation_pooled").better is None
        and explain("nonsense_pooled").title == "nonsense pooled"
    )
    names = ["chamfer", "knn_accuracy_pooled", "knn_accuracy", "svm_accuracy_pooled", "svm_accuracy"]
    told = page(Report("", "", [ModelReport("a", dict.fromkeys(names, 0.5))]))
    assert list(rows(told)) == [explain(name).title for name in reversed(names)]


def test_values_side_by_side_share_the_decimals_of_the_largest():
    assert [explain("bound").decimals(*values) for values in ((859, 22.4), (0.0001, 3.2), (0.0123, None))] == [0, 2, 4]
    assert explain("chamfer").decimals(1.0, 1e-9) == 2  # a figure's own come first


def test_each_figure_is_told_in_words_a_detail_like_its_stem():
    assert all(about(name) for name in FIGURES)
    assert len({meaning.title for meaning in FIGURES.values()}) == len(FIGURES)
    assert explain("robust/points_lost/5").title == "Corrupted shapes: points lost, strength 5"
    assert about("robust/points_lost/5") == about("robust") and about("robust").endswith("Higher is better.")
    assert about("rate").endswith("KL( q(z|x) || p(z) ).") and about("svm_cost") == ""


def test_points_are_packed_closely_and_what_is_not_finite_is_marked():
    clouds = np.random.default_rng(0).uniform(-1, 1, (3, 20, 3)).astype(np.float32)
    broken = clouds.copy()
    broken[1, 7, 2], broken[2, 0, 0], broken[0, 0, 1] = np.nan, np.inf, 1e30
    text = page(Report("", "", [ModelReport("m", {})], gallery=Gallery(["a", "b", "c"], clouds, {"m": broken})))
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["gallery"]
    packed = np.frombuffer(base64.b64decode(data["reconstructions"]["m"]["packed"]), "<i2").reshape(clouds.shape)
    missing = packed == MISSING
    assert missing.sum() == 2 and missing[1, 7, 2] and missing[2, 0, 0]
    assert packed[0, 0, 1] == 32767
    kept = np.abs(broken) < 2
    np.testing.assert_allclose(packed[kept] * data["scale"], broken[kept], atol=1e-4)


def pixels(path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]


def cloud(seed: int, points: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(points, 3)) * [0.5, 0.3, 0.2]


def test_every_original_and_reconstruction_is_drawn_in_its_place(tmp_path):
    pairs = [(cloud(seed), cloud(seed + 10)) for seed in range(4)]
    path = clouds_figure(pairs, [f"shape {seed}" for seed in range(4)], tmp_path / "new" / "clouds.png", columns=2)
    picture = pixels(path)
    blue = picture[..., 2] - picture[..., 0]
    for rows in np.array_split(np.arange(len(picture)), 2):
        cells = np.array_split(np.arange(picture.shape[1]), 4)
        inked = [(picture[np.ix_(rows, cell)].min(axis=2) < 0.9).sum() for cell in cells]
        strong = [(blue[np.ix_(rows, cell)] > 0.25).sum() for cell in cells]
        assert min(inked) > 500
        assert strong[0] == strong[2] == 0 and min(strong[1], strong[3]) > 200  # grey originals, blue reconstructions


def test_a_surface_is_drawn_where_its_triangles_are_seen_the_nearest_one_in_front(tmp_path):
    square = np.array([[-1.0, 0, -1], [1, 0, -1], [-1, 0, 1], [1, 0, 1]])  # faces the viewer's left front
    faces = np.array([[0, 1, 2], [1, 3, 2]])

    def blue(points, faces, name):
        picture = pixels(clouds_figure([(square, points)], ["x"], tmp_path / name, faces=faces))
        return picture[..., 2] - picture[..., 0] > 0.1

    whole, half = blue(square, faces, "a.png"), blue(square, faces[:1], "b.png")
    assert whole.sum() > 10_000 and 0.4 < half.sum() / whole.sum() < 0.6
    assert half[~whole].sum() < 0.01 * half.sum()  # but for blurred edges
    broken = square.copy()
    broken[3] = np.nan
    assert np.array_equal(blue(broken, faces, "c.png"), half)
    behind = np.concatenate([square, square[:, [1, 0, 2]] + [0, 3.0, 0]])  # seen from the side, and paler
    both = pixels(
        clouds_figure([(square, behind)], ["x"], tmp_path / "d.png", faces=np.concatenate([faces, faces + 4]))
    )
    assert ((both[..., 2] - both[..., 0] > 0.1)[whole]).all()


def test_the_picture_does_not_depend_on_the_users_units(tmp_path):
    a, b = cloud(0), cloud(1)
    plain = pixels(clouds_figure([(a, b)], ["x"], tmp_path / "a.png"))
    moved = pixels(clouds_figure([(a * 37 + 500, b * 37 + 500)], ["x"], tmp_path / "b.png"))
    other = pixels(clouds_figure([(a, b * 1.5)], ["x"], tmp_path / "c.png"))
    assert np.abs(plain - moved).mean() < 1e-3 < np.abs(plain - other).mean()


def test_points_that_are_not_finite_are_left_out(tmp_path):
    a, b = cloud(0), cloud(1)
    broken = np.concatenate([b, [[np.nan, 0, 0], [0, np.inf, 0]]])
    plain = pixels(clouds_figure([(a, b)], ["$x"], tmp_path / "a.png"))
    assert (pixels(clouds_figure([(a, broken)], ["$x"], tmp_path / "b.png")) == plain).all()
    clouds_figure([(broken[-2:], broken[-2:])], ["none left"], tmp_path / "c.png")


def holds(picture: np.ndarray, colour: str) -> bool:
    return len(inked(picture, colour)[0]) > 0


def falling(name: str, *means: float, spread: float = 0.01, **flags) -> Row:
    """Accuracy falls as given, clean first; the chamfer distance is a hundredth of the first."""
    estimates = [Estimate(mean, spread, mean - spread, mean + spread, (mean,)) for mean in means]
    chamfer = Estimate(means[0] / 100, None, None, None, (means[0] / 100,))
    robustness = {"jitter": estimates[1:], "points_lost": estimates[1:]} if means[1:] else {}
    return Row(name, "", {"svm_accuracy": estimates[0], "chamfer": chamfer}, {}, robustness, **flags)


def inked(picture: np.ndarray, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of each pixel of a colour."""
    wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return np.nonzero(np.abs(picture - np.array(wanted)).max(axis=2) < 0.005)


@pytest.mark.parametrize("spread", [0.01, 0.1])
def test_the_trade_off_has_zero_on_the_left_and_an_interval_at_each_weight(tmp_path, spread):
    rows = [falling(name, mean, spread=spread) for name, mean in (("zero", 0.9), ("$small", 0.6), ("large", 0.5))]
    sweep = Sweep("a weight", (0.0, 0.1, 10.0), [row.name for row in rows])
    picture = pixels(tradeoff_figure(Comparison("", "", rows, (), sweep), tmp_path / "new" / "a.png"))
    up, across = np.nonzero(picture[..., 2] - picture[..., 0] > 0.3)  # thin lines are paler than their colour
    ends = [up[across < across.min() + 6], up[across > across.max() - 6]]
    fall = ends[1].mean() - ends[0].mean()  # pixels count from the top: the highest accuracy is at weight 0
    for end in ends:
        assert np.ptp(end) == pytest.approx(fall * 2 * spread / 0.4, abs=8)  # no less than a dot's height
    assert holds(picture, MODEL_COLOURS[1])
    without = [Row(row.name, "", {"svm_accuracy": None, "chamfer": row.figures["chamfer"]}) for row in rows]
    picture = pixels(tradeoff_figure(Comparison("", "", without, (), sweep), tmp_path / "b.png"))
    assert [holds(picture, colour) for colour in MODEL_COLOURS[:2]] == [False, True]


def test_robustness_falls_with_strength_and_each_row_has_its_colour(tmp_path):
    rows = [
        falling("a$", 0.9, 0.8, 0.3),
        falling("b", 0.7, 0.65, 0.6, control=True),
        falling("c", 0.8),
        falling("d", 1, 1, 1),
    ]
    comparison = Comparison("", "", rows, (), strengths=(1, 5))
    picture = pixels(robustness_figure(comparison, ["a$", "b", "c"], tmp_path / "a.png"))
    assert [holds(picture, colour) for colour in MODEL_COLOURS[:4]] == [True, True, False, False]
    half = picture[: len(picture) * 3 // 4, : picture.shape[1] // 2]  # the first corruption, without the legend
    heights = {}
    for name, colour in zip("ab", MODEL_COLOURS, strict=False):
        up, across = inked(half, colour)
        heights[name] = up[across < across.min() + 6].mean(), up[across > across.max() - 6].mean()
    assert heights["a"][0] < heights["b"][0] < heights["b"][1] < heights["a"][1]  # pixels count from the top


def test_a_legend_has_every_row_and_shares_stay_between_0_and_100(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(comparison_figures, "save", lambda figure, path: drawn.append(figure))
    names = ["_mine", *(f"NT-Xent beside the bounds of views at {number}" for number in range(7))]
    rows = [falling(name, 0.9, 0.8, spread=3.0) for name in names]
    robustness_figure(Comparison("", "", rows, (), strengths=(1,)), names, tmp_path / "a.png")
    texts = [text.get_text().strip("\u200b") for text in drawn[0].legends[0].get_texts()]
    assert texts == names
    looks = {(line.get_color(), line.get_marker()) for line in drawn[0].axes[0].lines}
    assert len(looks) == len(names)
    low, high = drawn[0].axes[0].get_ylim()
    assert -10 < low <= 0 and 100 <= high < 110


def test_kinds_of_corruption_are_called_by_words_in_picture_and_page(tmp_path, monkeypatch):
    drawn, estimate = [], Estimate(0.5, None, None, None, (0.5,))
    monkeypatch.setattr(comparison_figures, "save", lambda figure, path: drawn.append(figure))
    robustness = {"so3": (estimate,), "density_increase": (estimate,)}
    row = Row("a", "", {"svm_accuracy": estimate}, {}, robustness)
    comparison = Comparison("", "", [row], (), strengths=(1,))
    robustness_figure(comparison, ["a"], tmp_path / "a.png")
    words = ["turned about any axis", "density increase"]
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == words
    assert comparison_data.drawn(comparison)["families"] == words


def test_a_price_that_no_row_of_the_sweep_has_is_not_drawn(tmp_path, monkeypatch):
    swept = [Row(name, "", {"svm_accuracy": Estimate(0.5, None, None, None, (0.5,))}) for name in "ab"]
    control = falling("control", 0.9, control=True)
    comparison = Comparison("", "", [*swept, control], (), Sweep("a weight", (0.0, 1.0), "ab"))
    assert "chamfer" in control.figures and comparison.tradeoff == ("svm_accuracy",)


def test_what_a_figure_lacks_is_refused(tmp_path):
    comparison = Comparison("", "", [falling("a", 0.9)], ())
    with pytest.raises(ValueError, match="has none"):
        tradeoff_figure(comparison, tmp_path / "a.png")
    with pytest.raises(ValueError, match="unknown row 'b'"):
        robustness_figure(comparison, ["b"], tmp_path / "a.png")
    assert robustness_figure(comparison, ["a"], tmp_path / "a.png").exists()  # no corruptions, an empty picture


def test_matplotlibs_global_state_is_left_alone():
    script = """
import sys, numpy, matplotlib
settings = matplotlib.rcParams.copy()
from crvae3d.viewers.explained import explain
from crvae3d.viewers.figures import clouds_figure
clouds_figure([(numpy.eye(3), numpy.eye(3))], ["x"], sys.argv[1])
assert matplotlib.rcParams.copy() == settings and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, "/dev/null"], check=True)


def groups(shapes: int, dimensions: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(shapes) % count
    return draw.normal(size=(count, dimensions))[labels] * 2 + draw.normal(size=(shapes, dimensions)) * 0.5, labels


def test_neighbours_stay_neighbours():
    codes, labels = groups(120, 64)
    positions = project(codes.astype(np.float32))
    assert positions.shape == (120, 2) and positions.dtype == np.float32
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 1e9 * np.eye(120)
    assert (labels[distances.argmin(axis=1)] == labels).all()


def test_the_same_seed_gives_the_same_map_on_any_number_of_threads():
    codes, _ = groups(300, 64)
    with threadpool_limits(limits=1):
        alone = project(codes, seed=3)
    with threadpool_limits(limits=2):
        assert (project(codes, seed=3) == alone).all()


def test_few_shapes_keep_their_distances():
    plane = np.random.default_rng(0).normal(size=(7, 2))
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0][:2]
    positions = project(plane @ turned)

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(distances(positions), distances(plane), atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (2, 1), (9, 1), (10, 3), (12, 1), (30, 2)])
def test_any_number_of_shapes_and_dimensions_has_a_finite_map(shape):
    positions = project(np.random.default_rng(0).normal(size=shape))
    assert positions.shape == (shape[0], 2) and np.isfinite(positions).all()


def test_collapsed_codes_lie_on_one_point():
    assert (np.abs(project(np.full((50, 8), 0.3))) < 1e-6).all()


def test_codes_that_are_not_finite_or_too_many_are_refused():
    with pytest.raises(ValueError, match="1 of 3 rows"):
        project(np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="at most"):
        project(np.zeros((LIMIT + 1, 2)))


def test_a_large_set_is_thinned_the_same_way_each_time():
    assert (choose(5) == np.arange(5)).all()
    chosen = choose(10 * LIMIT, seed=1)
    assert len(chosen) == LIMIT and (np.diff(chosen) > 0).all() and chosen[-1] < 10 * LIMIT
    assert (chosen == choose(10 * LIMIT, seed=1)).all() and (chosen != choose(10 * LIMIT, seed=2)).any()
