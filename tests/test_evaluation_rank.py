"""Retrieval, few-shot episodes and clusters: what each figure is by definition, and what must not move it."""

from math import comb, log

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

import crvae3d.evaluation.fewshot
import crvae3d.evaluation.retrieval
from crvae3d.errors import InputError
from crvae3d.evaluation.clustering import Clustering, clustering
from crvae3d.evaluation.fewshot import EPISODES, FewShot, classify, drawable, few_shot, span
from crvae3d.evaluation.holdout import standardised
from crvae3d.evaluation.occupancy import occupancy
from crvae3d.evaluation.retrieval import Retrieval, average_precision, retrieval
from crvae3d.evaluation.squared_hinge import solutions

TRAPEZOID = np.array([[2.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-2.0, -1.0]])
"""Centred, of deviations sqrt(2.5) and 1: standardised it lies at -38.3, 57.7, 122.3 and -141.7 degrees. So 0 is nearest
to 1 (96.0 degrees), then 3 (103.4), then 2 (160.6), and 1 to 2 (64.6), 0, 3; 3 and 2 are their mirror images."""


def clusters(
    shapes: int, spread: float, seed: int = 0, size: int = 16, classes: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of equal sizes about always the same centres, and their classes, in mixed order."""
    draw, world = np.random.default_rng(seed), np.random.default_rng(99)
    labels = draw.permutation(np.arange(shapes) % classes)
    return world.normal(size=(classes, size))[labels] + spread * draw.normal(size=(shapes, size)), labels


def by_chance(others: int, relevant: int, k: int) -> tuple[float, float]:
    """The expected average precision and recall at k of a random ranking: place i holds a relevant shape with
    probability relevant / others, and then (i - 1) (relevant - 1) / (others - 1) of the places before it do."""
    places = np.arange(1, others + 1)
    precision = np.mean((1 + (places - 1) * (relevant - 1) / (others - 1)) / places)
    return precision, 1 - comb(others - relevant, k) / comb(others, k)


class TestRetrieval:
    @pytest.mark.parametrize(
        ("labels", "precision", "recall"),
        [
            ([0, 1, 0, 1], 1 / 3, {1: 0, 2: 0, 3: 1}),  # every mate is the farthest
            ([7, 7, 2, 2], (1 + 1 / 2 + 1 / 2 + 1) / 4, {1: 1 / 2, 2: 1, 3: 1}),
            ([0, 0, 0, 1], ((1 + 2 / 3) / 2 + 1 + (1 + 2 / 3) / 2) / 3, {1: 1, 2: 1, 3: 1}),  # 3 asks nothing
            ([1, 0, 0, 3], 1, {1: 1, 2: 1, 3: 1}),
            ([4, 4, 4, 4], 1, {1: 1, 2: 1, 3: 1}),
        ],
    )
    def test_rankings_of_four_shapes(self, labels, precision, recall):
        found = retrieval(TRAPEZOID, np.array(labels), at=(1, 2, 3))
        assert found.mean_average_precision == pytest.approx(precision) and found.recall == pytest.approx(recall)
        assert retrieval(TRAPEZOID, np.array(labels), at=(99,)).recall == {99: 1}

    def test_it_is_what_scikit_learn_and_a_loop_say(self):
        codes, labels = clusters(150, 0.7)
        labels = np.where(np.arange(150) < 40, labels // 4, labels + 2)
        labels[5] = 99  # without a mate
        z = (codes - codes.mean(0)) / codes.std(0)
        precisions, hits = [], []
        for query in np.delete(np.arange(150), 5):
            others = np.delete(np.arange(150), query)
            similarity = z[others] @ z[query] / np.linalg.norm(z[others], axis=1)
            same = labels[others] == labels[query]
            precisions.append(average_precision_score(same, similarity))
            hits.append([same[np.argsort(similarity)[-k:]].any() for k in (1, 3)])
        found = retrieval(codes, labels, at=(1, 3))
        assert found.mean_average_precision == pytest.approx(np.mean(precisions), abs=1e-5)
        assert list(found.recall.values()) == pytest.approx(np.mean(hits, axis=0)) and 0.3 < found.recall[1] < 0.9

    def test_average_precision_counts_from_the_first_place(self):
        rankings = np.array([[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)
        expected = [(1 + 2 / 4) / 2, 1 / 4, 1, (1 / 2 + 2 / 3) / 2]
        np.testing.assert_allclose(average_precision(rankings), expected)

    def test_neither_units_nor_order_nor_names_matter(self):
        codes, labels = clusters(240, 1.2)
        plain, mixed = retrieval(codes, labels), np.random.default_rng(5).permutation(240)
        moved = codes * np.geomspace(1e-3, 1e3, 16) + np.linspace(-5, 5, 16)
        for other in (
            retrieval(moved, labels),
            retrieval(codes[mixed], labels[mixed]),
            retrieval(codes, np.array([3, 40, 7, 900, 11, -2, 0, 5])[labels]),
        ):
            assert other.mean_average_precision == pytest.approx(plain.mean_average_precision, abs=1e-4)
            assert other.recall == pytest.approx(plain.recall, abs=0.005)

    def test_it_is_the_same_in_blocks(self, monkeypatch):
        codes, labels = clusters(100, 1.2)
        whole = retrieval(codes, labels)
        monkeypatch.setattr(crvae3d.evaluation.retrieval, "AT_ONCE", 7)
        parts = retrieval(codes, labels)
        assert parts.mean_average_precision == pytest.approx(whole.mean_average_precision, abs=1e-4)
        assert parts.recall == pytest.approx(whole.recall, abs=0.011)

    def test_separated_classes_are_found_and_noise_is_chance(self):
        assert retrieval(*clusters(200, 0.05)) == Retrieval(1.0, {1: 1.0, 5: 1.0, 10: 1.0})
        draw = np.random.default_rng(0)
        codes, labels = draw.normal(size=(200, 16)), np.arange(200) % 8
        found = [retrieval(codes, draw.permutation(labels), at=(3,)) for _ in range(10)]
        precision, recall = by_chance(199, 24, 3)
        assert np.mean([one.mean_average_precision for one in found]) == pytest.approx(precision, abs=0.004)
        assert np.mean([one.recall[3] for one in found]) == pytest.approx(recall, abs=0.03)

    def test_collapsed_codes_gain_nothing_by_an_order_that_knows_the_class(self):
        found = retrieval(np.ones((400, 4)), np.repeat(np.arange(8), 50))
        assert found.mean_average_precision == pytest.approx(by_chance(399, 49, 1)[0], abs=0.02)
        assert found == retrieval(np.zeros((400, 9)), np.repeat(np.arange(8), 50))


class TestFewShot:
    def test_separated_classes_are_told_apart_and_wrong_labels_are_not_met(self):
        train, labels = clusters(160, 0.05)
        test, truth = clusters(160, 0.05, seed=1)
        assert few_shot(train, labels, test, truth, 5, 3) == FewShot(1.0, 0.0, 10)
        assert few_shot(train, labels, test, (truth + 1) % 8, 8, 3).accuracy == 0

    def test_noise_is_chance(self):
        draw = np.random.default_rng(0)
        train, test, labels = *draw.normal(size=(2, 200, 8)), np.arange(200) % 8
        found = few_shot(train, labels, test, labels, ways=4, shots=5, episodes=60)
        assert found.accuracy == pytest.approx(1 / 4, abs=0.03) and 0.02 < found.deviation < 0.1

    def test_an_episode_holds_shots_of_train_and_queries_of_test(self, monkeypatch):
        """A code is the shape's place, so that what was drawn can be read off what the classifier is given."""
        labels, test_labels = np.repeat([3, 5, 8, 9], [12, 10, 9, 30]), np.repeat([3, 5, 8, 9, 11], [30, 4, 30, 25, 30])
        episodes = []

        def first_class(supports, classes, queries):
            names = labels[supports[::10, 0]]
            np.testing.assert_array_equal(labels[supports[:, 0]], names[classes])
            asked = queries[:, 0]
            assert len(set(supports[:, 0])) == len(supports) == 20 and len(set(asked)) == len(asked)
            sizes = [int((test_labels[asked] == name).sum()) for name in names]
            assert sizes == [4 if name == 5 else 20 for name in names] and sum(sizes) == len(asked)
            episodes.append((tuple(names), sizes[0] / sum(sizes)))
            return np.zeros(len(queries), int)

        monkeypatch.setattr(crvae3d.evaluation.fewshot, "classify", first_class)
        train, test = (np.arange(len(part))[:, None] for part in (labels, test_labels))
        found = few_shot(train, labels, test, test_labels, ways=2, shots=10, episodes=40)
        accuracies = [accuracy for _, accuracy in episodes]
        assert found == FewShot(pytest.approx(np.mean(accuracies)), pytest.approx(np.std(accuracies)), 40)
        names = {names for names, _ in episodes}  # 8 has nine shapes in train, 11 none
        assert names == {(a, b) for a in (3, 5, 9) for b in (3, 5, 9) if a != b}

    def test_every_encoder_is_asked_the_same_and_the_seed_says_what(self, monkeypatch):
        labels, asked = np.arange(80) % 4, []
        monkeypatch.setattr(crvae3d.evaluation.fewshot, "classify", lambda *given: asked.append(given) or given[1][:1])
        places = np.arange(80)[:, None]
        for codes, episodes, seed in ((places, 3, 0), (1000 - places, 2, 0), (places, 3, 1)):
            few_shot(codes, labels, codes, labels, 3, 5, episodes, seed=seed)
        one, other, reseeded = asked[:3], asked[3:5], asked[5:]
        for a, b in zip(one, other, strict=False):
            np.testing.assert_array_equal(a[0], 1000 - b[0])
            np.testing.assert_array_equal(a[2], 1000 - b[2])
        assert not np.array_equal(one[0][0], one[1][0]) and not np.array_equal(one[0][0], reseeded[0][0])

    @pytest.mark.parametrize("size", [6, 200])
    def test_the_span_of_the_supports_holds_the_same_classifier(self, size):
        draw = np.random.default_rng(0)
        codes, classes = clusters(40, 1.5, size=12, classes=5)
        supports = (codes @ draw.normal(size=(12, size)) + draw.normal(size=(40, size))).astype(np.float32)
        axes = span(supports)
        np.testing.assert_allclose(axes.T @ axes, np.eye(min(40, size)), atol=1e-5)
        np.testing.assert_allclose(supports @ axes @ axes.T, supports, atol=1e-4)
        whole = next(solutions(supports, classes, [0.02]))
        part = next(solutions(supports @ axes, classes, [0.02]))
        assert part.objective == pytest.approx(whole.objective, rel=1e-4)
        np.testing.assert_allclose(axes @ part.weights[:-1], whole.weights[:-1], atol=2e-3)
        np.testing.assert_allclose(part.weights[-1], whole.weights[-1], atol=2e-3)

    @pytest.mark.parametrize("size", [16, 300])
    def test_queries_are_named_as_by_linear_svc(self, size):
        """Standardised by the supports, at C = 1 and a mean squared length of 1: of `size` features, each of variance 1."""
        draw = np.random.default_rng(0)
        mix = draw.normal(size=(16, size))
        supports, classes = clusters(80, 2.0)
        queries, _ = clusters(500, 2.0, seed=1)
        a, b = (part / np.sqrt(size) for part in standardised(supports @ mix, queries @ mix))
        svc = LinearSVC(C=1.0, dual=False, tol=1e-7, max_iter=10_000).fit(a, classes)
        named = classify(supports @ mix, classes, queries @ mix)
        assert (named == svc.predict(b)).mean() >= 0.995 and len(set(named)) == 8
        harder = LinearSVC(C=1.0, dual=False, max_iter=10_000).fit(a * np.sqrt(size), classes)
        assert (named == harder.predict(b * np.sqrt(size))).mean() < 0.97  # the scale matters here

    def test_units_repeats_and_dead_features_do_not_matter(self):
        supports, classes = clusters(60, 1.5)
        queries, _ = clusters(500, 1.5, seed=1)
        plain = classify(supports, classes, queries)
        for change in (
            lambda x: x * np.geomspace(1e-3, 1e3, 16) + np.linspace(-5, 5, 16),
            lambda x: np.hstack([x] * 20),
            lambda x: np.hstack([x, np.full((len(x), 400), 3.0)]),
        ):
            assert (classify(change(supports), classes, change(queries)) == plain).mean() >= 0.99

    def test_classes_need_their_shots_in_train_and_someone_to_ask_in_test(self):
        train, test = np.repeat([1, 2, 3, 4], [9, 10, 11, 20]), np.array([4, 2, 1, 2, 6])
        assert drawable(train, test, 10).tolist() == [2, 4]
        codes = np.random.default_rng(0).normal(size=(50, 3))
        few_shot(codes, train, codes[:5], test, ways=2, shots=10)
        with pytest.raises(InputError, match="3 ways of 10 shots need 3 classes .* 2 have them: ask for fewer"):
            few_shot(codes, train, codes[:5], test, ways=3, shots=10)

    @pytest.mark.parametrize(("name", "value"), [("ways", 1), ("shots", 0), ("episodes", 0), ("queries", -3)])
    def test_numbers_that_are_too_small_are_refused(self, name, value):
        codes, labels = clusters(40, 1.0)
        with pytest.raises(InputError, match=f"at least 2 ways, .* got .*{value} {name}"):
            few_shot(codes, labels, codes, labels, **({"ways": 2, "shots": 2} | {name: value}))


class TestClustering:
    def test_two_clusters_against_two_classes(self):
        """Three and three shapes; the classes are the first two, and the rest: tables of 2 1 / 0 3."""
        codes = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
        found = clustering(codes, np.array([5, 5, 2, 2, 2, 2]))
        pairs, expected, most = comb(2, 2) + comb(3, 2), 6 * 7 / comb(6, 2), (6 + 7) / 2
        assert found.ari == pytest.approx((pairs - expected) / (most - expected))
        entropies = log(2), log(3) / 3 + log(3 / 2) * 2 / 3
        joint = log(3) / 3 + log(6) / 6 + log(2) / 2
        assert found.nmi == pytest.approx((sum(entropies) - joint) / (sum(entropies) / 2))

    def test_separated_classes_are_found_and_noise_is_chance(self):
        assert clustering(*clusters(240, 0.05)) == Clustering(pytest.approx(1), pytest.approx(1))
        found = clustering(np.random.default_rng(0).normal(size=(600, 8)), np.arange(600) % 6, restarts=2)
        assert abs(found.ari) < 0.01 and 0 < found.nmi < 0.04

    def test_neither_units_nor_order_nor_names_matter(self):
        codes, labels = clusters(240, 0.5)
        labels[:40] = labels[40:80]  # some that no cluster can meet
        plain, mixed = clustering(codes, labels), np.random.default_rng(5).permutation(240)
        assert 0.5 < plain.ari < 0.95
        for other in (
            clustering(codes * np.geomspace(1e-3, 1e3, 16) + np.linspace(-5, 5, 16), labels),
            clustering(codes[mixed], labels[mixed]),
            clustering(codes, np.array([3, 40, 7, 900, 11, -2, 0, 5])[labels]),
        ):
            assert other == Clustering(pytest.approx(plain.nmi), pytest.approx(plain.ari))

    def test_the_seed_decides_the_first_centres(self):
        codes, labels = clusters(160, 2.0)
        one, same, other = (clustering(codes, labels, seed=seed, restarts=1) for seed in (0, 0, 1))
        assert one == same != other

    def test_collapsed_codes_are_one_cluster(self):
        with pytest.warns(ConvergenceWarning, match="distinct clusters"):
            assert clustering(np.ones((20, 3)), np.arange(20) % 4) == Clustering(0.0, 0.0)


@pytest.mark.parametrize("measure", [retrieval, clustering])
@pytest.mark.parametrize(
    ("codes", "labels", "message"),
    [
        (np.full((4, 2), np.inf), np.zeros(4), "features must be finite"),
        (np.zeros(4), np.zeros(4), r"features must be a matrix \(shapes, features\), got \(4,\)"),
        (np.zeros((0, 3)), np.zeros(0), r"must be a matrix .* got \(0, 3\)"),
        (np.zeros((4, 3)), np.zeros(3), "needs one label a shape: 4 shapes"),
    ],
)
def test_unusable_codes_are_refused(measure, codes, labels, message):
    with pytest.raises(InputError, match=f"{measure.__name__} .*{message}"):
        measure(codes, labels)


def test_unusable_questions_are_refused():
    with pytest.raises(InputError, match="k of at least 1, got 5, 0"):
        retrieval(TRAPEZOID, np.zeros(4), at=(5, 0))
    with pytest.raises(InputError, match="a class of two shapes or more: all 4 labels differ"):
        retrieval(TRAPEZOID, np.arange(4))
    with pytest.raises(InputError, match="test features must be finite"):
        few_shot(TRAPEZOID, np.arange(4), TRAPEZOID * np.nan, np.arange(4), 2, 1)


def test_real_shapes_are_far_from_chance_in_all_of_them(real_data):
    archive = np.load(real_data / "modelnet10_test.npz")
    points = torch.from_numpy(archive["points"][:, :256]).float() * float(archive["scale"])
    labels, mixed = archive["labels"], np.random.default_rng(0).permutation(908)
    points, labels = points[mixed], labels[mixed]
    codes = occupancy(points, cells=4)
    train, test = codes[:500], codes[500:]
    by_ways = {
        setting: few_shot(train, labels[:500], test, labels[500:], *setting, episodes=20).accuracy
        for setting in EPISODES
    }
    assert by_ways[5, 10] > 0.6 and by_ways[10, 10] > 0.4
    assert by_ways[5, 20] > by_ways[5, 10] > by_ways[10, 10] < by_ways[10, 20]  # more shots help, more ways hurt
    found, groups = retrieval(test, labels[500:]), clustering(test, labels[500:])
    assert found.mean_average_precision > 0.2 and found.recall[1] > 0.6 and found.recall[10] > 0.9
    assert groups.nmi > 0.3 and groups.ari > 0.15
