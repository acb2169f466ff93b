"""Nearest neighbours, and the occupancy histogram as a control."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.holdout import standardised
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.linear import linear_probe
from crvae3d.evaluation.occupancy import OccupancyCodes, occupancy


def clusters(shapes: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters about four directions, and their classes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(4, size=shapes)
    return (np.eye(4)[labels] + spread * draw.normal(size=(shapes, 4))).astype(np.float32), labels


def test_neighbours_agree_with_scikit_learn():
    train, labels = clusters(300, 0.5)
    test, truth = clusters(200, 0.5, seed=1)
    a, b = standardised(train, test)
    votes = labels >= 2  # two classes and an odd k: no vote is tied
    for k in (1, 7):
        theirs = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(a, votes).score(b, truth >= 2)
        ours = knn_probe(train, votes, test, truth >= 2, neighbours=(k,))
        assert ours.accuracy == pytest.approx(theirs) and ours.neighbours == k


def test_many_neighbours_are_chosen_where_labels_are_noisy_and_one_where_they_are_not():
    train, labels = clusters(600, 0.05)
    test, truth = clusters(300, 0.05, seed=1)
    noisy = np.where(np.random.default_rng(2).random(600) < 0.2, (labels + 1) % 4, labels)
    for given, chosen in ((labels, 1), (noisy, 20)):
        found = knn_probe(train, given, test, truth, neighbours=(20, 1))
        assert found.neighbours == chosen and found.accuracy > 0.97
    assert knn_probe(train, noisy, test, truth, neighbours=(1,)).accuracy < 0.87


def test_the_number_of_neighbours_never_sees_the_test_part():
    train, labels = clusters(300, 0.4)
    test, truth = clusters(200, 0.4, seed=1)
    honest, garbage = (knn_probe(train, labels, test, named) for named in (truth, (truth + 1) % 4))
    assert (garbage.neighbours, garbage.validation_accuracy) == (honest.neighbours, honest.validation_accuracy)
    assert honest.accuracy > 0.8 > 0.2 > garbage.accuracy


def test_a_tied_vote_goes_to_the_nearer_and_a_larger_one_does_not():
    train = np.array([[1, 0.1], [1, 0.9], [0.9, 1.0], [-1, 0.2], [-1, -2.2]], dtype=np.float32)
    query = np.array([[1, 0.15]], dtype=np.float32)
    assert knn_probe(train, np.array([8, 5, 5, 6, 6]), query, np.array([8]), neighbours=(2,)).accuracy == 1.0
    assert knn_probe(train, np.array([8, 5, 5, 6, 6]), query, np.array([5]), neighbours=(3,)).accuracy == 1.0


def test_occupancy_counts_points_in_cells():
    corners = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, 1, 1], [-0.1, -0.1, 0.1]])
    found = occupancy(corners[None], cells=2)
    np.testing.assert_array_equal(found, [[0.25, 0.25, 0, 0, 0, 0, 0, 0.5]])
    np.testing.assert_array_equal(occupancy(3 * corners[None], cells=2), found)  # outside counts in the nearest cell


def occupancy_codes(train, test, cells=16, components=256):
    """Codes of both parts by the axes of the first."""
    model = OccupancyCodes(train, cells, components)
    return tuple(encode(model, part, progress=False).means for part in (train, test))


def test_occupancy_codes_do_not_know_the_order_of_points():
    train, test = torch.rand(30, 200, 3) * 2 - 1, torch.rand(10, 200, 3) * 2 - 1
    mixed = [part[:, torch.randperm(200)] for part in (train, test)]
    for one, other in zip(occupancy_codes(train, test, 4, 8), occupancy_codes(*mixed, 4, 8), strict=True):
        np.testing.assert_array_equal(one, other)


def test_occupancy_codes_keep_distances_where_nothing_is_dropped():
    train, test = torch.rand(40, 50, 3) * 2 - 1, torch.rand(10, 50, 3) * 2 - 1
    codes, other = occupancy_codes(train, test, cells=2, components=99)
    assert codes.shape == (40, 8) and other.shape == (10, 8)
    cells = [occupancy(part, 2) for part in (train, test)]
    for a, b in ((codes, cells[0]), (other, cells[1])):
        np.testing.assert_allclose(
            np.linalg.norm(a[0] - a[1:], axis=1), np.linalg.norm(b[0] - b[1:], axis=1), atol=1e-5
        )
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-6)


def test_occupancy_components_are_those_of_train_alone():
    train, test = torch.rand(30, 100, 3) * 2 - 1, torch.rand(10, 100, 3) - 1
    alone, _ = occupancy_codes(train, test[:1], 4, 8)
    beside, codes = occupancy_codes(train, test, 4, 8)
    np.testing.assert_array_equal(alone, beside)
    assert np.linalg.norm(codes.mean(0)) > 10 * np.linalg.norm(beside.mean(0))


def test_real_shapes_are_told_apart_by_their_occupancy(real_data):
    """The control is no straw man: on ModelNet10 it is far above the commonest class."""
    archive = np.load(real_data / "modelnet10_train.npz")
    chosen = np.random.default_rng(0).permutation(len(archive["labels"]))[:1200]
    points = torch.from_numpy(archive["points"][chosen, :512]).float() * float(archive["scale"])
    labels = archive["labels"][chosen]
    codes, test = occupancy_codes(points[:900], points[900:])
    assert linear_probe(codes, labels[:900], test, labels[900:]).accuracy > 0.8
    assert knn_probe(codes, labels[:900], test, labels[900:]).accuracy > 0.6
