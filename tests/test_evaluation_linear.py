"""The linear classifier: the optimum it claims, the choice it makes, and what it must not look at."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from crvae3d.errors import InputError
from crvae3d.evaluation import squared_hinge
from crvae3d.evaluation.holdout import held_out, standardised
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.linear import COSTS, fit_linear, linear_probe
from crvae3d.evaluation.squared_hinge import solutions


def clustered(
    shapes: int, spread: float, seed: int = 0, size: int = 24, classes: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters of correlated features of very different scales, and their classes."""
    draw = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    centres, mix = world.normal(size=(classes, size)), world.normal(size=(size, size)) * np.geomspace(1, 0.05, size)
    labels = draw.integers(classes, size=shapes)
    return ((centres[labels] + spread * draw.normal(size=(shapes, size))) @ mix).astype(np.float32), labels


def objective(weights: np.ndarray, features: np.ndarray, classes: np.ndarray, cost: float) -> float:
    """What liblinear minimises, summed over the classes: written from its definition, a class at a time."""
    total = 0.0
    for label, column in enumerate(weights.T):
        sign = np.where(classes == label, 1.0, -1.0)
        slack = np.maximum(0, 1 - sign * (features @ column[:-1] + column[-1]))
        total += column @ column / 2 + cost * slack @ slack
    return total


@pytest.mark.parametrize("cost", [1e-3, 1e-2, 1e-1, 1.0])
def test_it_finds_the_optimum_of_linear_svc(cost):
    features, classes = clustered(1500, 1.5)
    test, _ = clustered(1000, 1.5, seed=1)
    svc = LinearSVC(C=cost, dual=False, tol=1e-7, max_iter=10_000).fit(features, classes)
    theirs = objective(np.vstack([svc.coef_.T, svc.intercept_]), features, classes, cost)
    path = [*(other for other in COSTS if other < cost), cost]
    for found in (list(solutions(features, classes, path))[-1], next(solutions(features, classes, [cost]))):
        ours = objective(found.weights, features, classes, cost)
        assert ours == pytest.approx(theirs, rel=1e-4) and found.objective == pytest.approx(ours, rel=1e-5)
        assert (found.predict(test) == svc.predict(test)).mean() >= 0.998


def test_the_optimum_of_two_points_is_known():
    """x = 1 and x = -1: by symmetry b = 0, and w^2 / 2 + 2 C (1 - w)^2 is least at w = 4 C / (1 + 4 C)."""
    for cost in (0.01, 1.0, 50.0):
        found = next(solutions(np.array([[-1.0], [1.0]]), np.array([0, 1]), [cost]))
        w = 4 * cost / (1 + 4 * cost)
        np.testing.assert_allclose(found.weights, [[-w, w], [0, 0]], atol=2e-3)


def test_features_that_repeat_or_outnumber_the_shapes_are_no_obstacle():
    features, classes = clustered(60, 1.0)
    wide = np.hstack([features] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(solutions(wide, classes, COSTS))[-1]
    svc = LinearSVC(C=COSTS[-1], dual=False, tol=1e-7, max_iter=10_000).fit(wide, classes)
    theirs = objective(np.vstack([svc.coef_.T, svc.intercept_]), wide, classes, COSTS[-1])
    assert objective(found.weights, wide, classes, COSTS[-1]) == pytest.approx(theirs, rel=1e-3)


def test_the_optimum_is_the_same_whatever_basis_is_made(monkeypatch):
    features, classes = clustered(200, 1.0)
    found = list(solutions(features, classes, COSTS))[-1]
    monkeypatch.setattr(squared_hinge, "WIDEST", 4)
    plain = list(solutions(features, classes, COSTS))[-1]
    least, other = (objective(one.weights, features, classes, COSTS[-1]) for one in (found, plain))
    assert (
        other == pytest.approx(least, rel=1e-3) and (plain.predict(features) == found.predict(features)).mean() > 0.99
    )


def test_far_more_features_than_shapes_cost_no_more_than_the_shapes():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 2_000)).astype(np.float32)
    features[:30, :100] += 1
    features += 20  # as they come, features are not centred
    classes = np.repeat([0, 1], 30)
    found = next(solutions(features, classes, [1e-3]))
    svc = LinearSVC(C=1e-3, tol=1e-6, max_iter=10_000).fit(features, classes)
    theirs = np.hstack([svc.coef_, svc.intercept_[None]])  # of two classes it has one
    least = objective(np.vstack([-theirs, theirs]).T, features, classes, 1e-3)
    assert objective(found.weights, features, classes, 1e-3) == pytest.approx(least, rel=1e-3)


def test_classifiers_are_as_exact_where_models_are_judged_in_half_precision():
    features, classes = clustered(300, 1.0)
    test, truth = clustered(200, 1.0, seed=1)
    exact = fit_linear(features, classes), knn_probe(features, classes, test, truth)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = fit_linear(features, classes), knn_probe(features, classes, test, truth)
    np.testing.assert_array_equal(rounded[0].separator.weights, exact[0].separator.weights)
    assert rounded[1] == exact[1]


def test_stopping_early_is_said(monkeypatch):
    monkeypatch.setattr(squared_hinge, "LIMITS", squared_hinge.LIMITS | {"maxiter": 2})
    with pytest.warns(ConvergenceWarning, match="C=1.0 did not converge"):
        list(solutions(*clustered(300, 1.5), [1.0]))


def test_separable_classes_are_told_apart_and_wrong_labels_are_not_met():
    train, labels = clustered(300, 0.05)
    test, truth = clustered(200, 0.05, seed=1)
    names = np.array([3, 40, 7, 900, 11, -2, 0])
    assert linear_probe(train, names[labels], test, names[truth]).accuracy == 1.0
    assert linear_probe(train, names[labels], test, names[(truth + 1) % 7]).accuracy == 0.0
    assert linear_probe(train, names[labels], test, names[truth], literature=True).accuracy == 1.0


def test_the_choice_never_sees_the_test_part():
    train, labels = clustered(400, 2.0)
    test, truth = clustered(200, 2.0, seed=1)
    draw = np.random.default_rng(5)
    honest = linear_probe(train, labels, test, truth)
    for garbage in (
        linear_probe(train, labels, test, draw.permutation(truth)),
        linear_probe(train, labels, -9 * test, truth),
    ):
        assert (garbage.cost, garbage.validation_accuracy) == (honest.cost, honest.validation_accuracy)
        assert garbage.accuracy != honest.accuracy


def test_the_choice_is_the_best_on_validation():
    """Two features share a noise that hides the class; only a large C lets their difference speak."""
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=400)
    noise = 10 * draw.normal(size=400)
    features = np.stack([noise + 2 * labels, noise], axis=1)
    found = linear_probe(features, labels, features, labels, costs=(1e3, 1e-3))
    assert found.cost == 1e3 and found.validation_accuracy == 1.0 and found.accuracy == 1.0
    assert linear_probe(features, labels, features, labels, costs=(1e-3,)).accuracy < 0.8
    alike = linear_probe(features, labels, features, labels, costs=(3e3, 1e3, 2e3))
    assert alike.cost == 1e3  # the smallest of equals


def test_units_and_offsets_of_features_do_not_matter_unless_the_literature_asks():
    train, labels = clustered(400, 2.0)
    test, truth = clustered(200, 2.0, seed=1)
    unit, offset = np.geomspace(1e-3, 1e3, 24), np.linspace(-5, 5, 24)
    plain, other = (
        linear_probe(a, labels, b, truth) for a, b in ((train, test), (train * unit + offset, test * unit + offset))
    )
    assert other.accuracy == pytest.approx(plain.accuracy, abs=0.011) and other.cost == plain.cost
    scaled = linear_probe(train * 1e-6, labels, test * 1e-6, truth, literature=True)
    assert scaled.cost == 1.0 and scaled.validation_accuracy is None and scaled.accuracy < plain.accuracy - 0.1


def test_scaling_is_decided_by_train_and_leaves_constants_at_nought():
    train = np.array([[1.0, 7.0, 1e9], [3.0, 7.0, 1e9]], dtype=np.float32)
    one, other = standardised(train, np.array([[2.0, 9.0, 5.0]], dtype=np.float32))
    np.testing.assert_array_equal(one, [[-1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(other, [[0, 0, 0]])


def test_the_validation_part_is_a_stratified_tenth_that_the_seed_fixes():
    labels = np.repeat([4, 5, 6, 7], [100, 40, 2, 1])
    held = held_out(labels, seed=3)
    assert [held[labels == label].sum() for label in (4, 5, 6, 7)] == [10, 4, 1, 0]
    assert np.array_equal(held, held_out(labels, seed=3)) and not np.array_equal(held, held_out(labels, seed=4))


def test_one_shape_a_class_leaves_no_choice():
    found = linear_probe(np.eye(4), np.arange(4), np.eye(4), np.arange(4), costs=(0.1, 1.0))
    assert found.accuracy == 1.0 and found.cost == 0.1 and found.validation_accuracy is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(train=np.full((4, 4), np.nan)), "train features must be finite"),
        (dict(test=np.zeros((4, 3))), r"test features must be a matrix \(shapes, 4\), got \(4, 3\)"),
        (dict(train_labels=np.arange(3)), "train needs one label a shape: 4 shapes"),
    ],
)
def test_unusable_features_are_refused(change, message):
    given = dict(train=np.eye(4), train_labels=np.arange(4), test=np.eye(4), test_labels=np.arange(4))
    with pytest.raises(InputError, match=message):
        linear_probe(**(given | change))
