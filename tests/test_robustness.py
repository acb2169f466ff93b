"""Robustness: accuracies that can be counted by hand, and views that depend on nothing but themselves."""

import numpy as np
import pytest
import torch
from torch import Tensor

from crvae3d.errors import InputError
from crvae3d.evaluation import codes
from crvae3d.evaluation.linear import LinearClassifier, fit_linear, linear_probe
from crvae3d.evaluation.robustness import SHAPES_A_DRAW, draw_of, features_of, robustness
from crvae3d.points.augment import Rotate, RotateSO3
from crvae3d.points.batch import Ragged, dense
from crvae3d.points.corrupt import CORRUPTIONS
from crvae3d.points.models import PointModel


def balls(small: int, large: int, size: int = 40) -> tuple[Tensor, np.ndarray]:
    """Spheres' points of radius 0.3, class 3, then of radius 0.9, class 8."""
    radius = torch.tensor([0.3] * small + [0.9] * large)[:, None, None]
    x = radius * torch.nn.functional.normalize(torch.randn(small + large, size, 3), dim=-1)
    return x, np.array([3] * small + [8] * large)


def extent(x: Tensor | Ragged) -> dict[str, np.ndarray]:
    """The largest distance from the origin, and a sum over all points."""
    points, mask = dense(x)
    points = points if mask is None else torch.where(mask[..., None], points, 0)
    return {
        "extent": points.norm(dim=-1).amax(1)[:, None].numpy(),
        "spread": points.abs().double().sum(1).float().numpy(),
    }


def fitted(x: Tensor, labels: np.ndarray) -> dict[str, LinearClassifier]:
    return {name: fit_linear(features, labels) for name, features in extent(x).items()}


def asked(x: Tensor, labels: np.ndarray, families: dict, **settings: object) -> dict[str, dict[str, list[float]]]:
    return robustness(extent, fitted(x, labels), x, labels, families, **({"progress": False} | settings))


def scaled_by(*factors: float) -> object:
    return lambda strength: lambda x, generator: factors[strength - 1] * x


def test_accuracies_are_those_counted_by_hand():
    """The border lies near 0.6: shrunk below it, large balls are taken for small ones, and the other way round."""
    x, labels = balls(90, 60)
    families = {"shrink": scaled_by(1, 0.9, 0.5, 0.4, 0.3), "grow": scaled_by(1, 1.1, 2.6, 3, 4)}
    found = asked(x, labels, families)
    assert set(found) == {"extent", "spread"}
    for by_family in found.values():
        assert by_family == {"shrink": [1, 1, 0.6, 0.6, 0.6], "grow": [1, 1, 0.4, 0.4, 0.4]}
    assert asked(x, labels, families, strengths=(5, 2))["extent"] == {"shrink": [0.6, 1], "grow": [0.4, 1]}


def test_what_the_features_cannot_see_costs_nothing():
    x, labels = balls(40, 40)
    found = asked(x, labels, {"so3": lambda _: RotateSO3(), "azimuth": lambda s: Rotate(36 * s)})
    assert found["extent"] == {"so3": [1] * 5, "azimuth": [1] * 5}


def noisy(shapes: int = 150) -> tuple[Tensor, np.ndarray]:
    """Balls whose classes overlap, so that a view decides what some of them are taken for."""
    x, labels = balls(shapes // 2, shapes - shapes // 2)
    return x * (1 + 0.4 * torch.randn(len(x), 1, 1)), labels


FAMILIES = {name: CORRUPTIONS[name] for name in ("scale", "crop", "lidar", "upsampling", "cutout", "distortion")}


def test_every_model_is_asked_about_the_same_views_whatever_the_size_of_its_batches():
    x, labels = noisy()
    first = asked(x, labels, FAMILIES, strengths=(1, 5))
    torch.manual_seed(7)  # the global generator has no say
    for size in (7, 64, 500):
        assert asked(x, labels, FAMILIES, strengths=(1, 5), batch_size=size) == first
    alone = asked(x, labels, {"lidar": CORRUPTIONS["lidar"]}, strengths=(5,))
    assert alone["spread"]["lidar"] == first["spread"]["lidar"][1:]  # nor have the other families and strengths
    assert asked(x, labels, FAMILIES, strengths=(1, 5), seed=1) != first


def test_each_view_is_encoded_once_for_all_classifiers_and_carries_no_needless_padding():
    x, labels = balls(80, 70, size=1024)
    seen = []

    def encode(batch: Tensor | Ragged) -> dict[str, np.ndarray]:
        seen.append(batch)
        return extent(batch)

    robustness(encode, fitted(x, labels), x, labels, {"cutout": CORRUPTIONS["cutout"]}, (1, 5), progress=False)
    assert [tuple(part.shape) for part in seen] == [(n, 1024 - lost, 3) for n in (64, 64, 22) for lost in (60, 300)]
    seen.clear()
    robustness(encode, fitted(x, labels), x[:20], labels[:20], {"lidar": CORRUPTIONS["lidar"]}, (3,), progress=False)
    (batch,) = seen
    assert batch.mask.sum(1).max() == batch.mask.shape[1] < 300
    own = CORRUPTIONS["lidar"](3)(x[:20], generator=draw_of(0, "lidar", 0))
    for i in range(20):
        assert torch.equal(batch.points[i][batch.mask[i]], own.points[i][own.mask[i]])


def test_the_strengths_of_a_family_share_their_draw_and_families_do_not():
    seen = {}

    def watched(name: str) -> object:
        def at(strength: int) -> object:
            def transform(x: Tensor, generator: torch.Generator) -> Tensor:
                seen[name, strength, len(x)] = torch.rand(3, generator=generator)
                return x

            return transform

        return at

    x, labels = balls(SHAPES_A_DRAW, 5)
    asked(x, labels, {"one": watched("one"), "two": watched("two")}, strengths=(1, 2))
    assert len(seen) == 8
    for place in (SHAPES_A_DRAW, 5):
        assert torch.equal(seen["one", 1, place], seen["one", 2, place])
        assert not torch.equal(seen["one", 1, place], seen["two", 1, place])
    assert not torch.equal(seen["one", 1, SHAPES_A_DRAW], seen["one", 1, 5])


def test_a_models_features_are_its_codes():
    model = PointModel(code_size=5, encoder_widths=(8, 12), head_widths=(6,), output_points=9, decoder_width=8).build()
    model.train()
    x = torch.randn(9, 30, 3)
    found, expected = features_of(model)(x), codes.encode(model, x, progress=False)
    np.testing.assert_allclose(found["means"], expected.means, atol=1e-6)
    np.testing.assert_allclose(found["pooled"], expected.pooled, atol=1e-6)
    assert model.training
    labels = np.arange(9) % 2
    classifiers = {name: fit_linear(features, labels) for name, features in found.items()}
    clean = robustness(features_of(model), classifiers, x, labels, {"none": scaled_by(1)}, (1,), progress=False)
    assert clean == {name: {"none": [classifiers[name].accuracy(found[name], labels)]} for name in found}


def test_what_cannot_be_judged_is_refused():
    x, labels = balls(10, 10)
    with pytest.raises(InputError, match=r"one label a shape: 20 shapes, labels \(19,\)"):
        robustness(extent, fitted(x, labels), x, labels[1:], FAMILIES, progress=False)
    with pytest.raises(InputError, match="one of 1, 2, 3, 4 and 5, got 6"):
        asked(x, labels, FAMILIES, strengths=(1, 6))
    with pytest.raises(InputError, match="unknown features 'extend': did you mean 'extent'"):
        robustness(extent, {"extend": fitted(x, labels)["extent"]}, x, labels, FAMILIES, progress=False)
    with pytest.raises(InputError, match="must be finite"):
        asked(x, labels, {"broken": scaled_by(1, float("nan"))}, strengths=(1, 2))


def clusters(shapes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(3, size=shapes)
    return (np.eye(3)[labels] + 0.5 * draw.normal(size=(shapes, 3))).astype(np.float32), np.array([5, -1, 9])[labels]


@pytest.mark.parametrize("literature", [False, True])
def test_a_fitted_classifier_judges_any_test_set_as_the_probe_does(literature):
    train, labels = clusters(200, 0)
    classifier = fit_linear(train, labels, literature=literature)
    for seed in (1, 2):
        test, truth = clusters(150, seed)
        probe = linear_probe(train, labels, test, truth, literature=literature)
        assert classifier.accuracy(test, truth) == probe.accuracy == np.mean(classifier.predict(test) == truth)
        assert (classifier.cost, classifier.validation_accuracy) == (probe.cost, probe.validation_accuracy)
    assert set(classifier.predict(train)) == {5, -1, 9}
    assert (
        classifier.predict(test[:1]) == classifier.predict(test)[:1]
    )  # scaled by train, not by what it is asked about
    assert classifier.accuracy(test, np.full(150, 7)) == 0  # a label that train has not


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4), r"test features must be a matrix \(shapes, 3\), got \(4, 2\)"),
        (np.full((4, 3), np.inf), np.zeros(4), "test features must be finite"),
        (np.zeros((4, 3)), np.zeros(3), "test needs one label a shape: 4 shapes"),
    ],
)
def test_a_fitted_classifier_refuses_what_it_cannot_use(features, labels, message):
    classifier = fit_linear(*clusters(60, 0))
    with pytest.raises(InputError, match=message):
        classifier.accuracy(features, labels)
    if "label" not in message:
        with pytest.raises(InputError, match=message):
            classifier.predict(features)
    with pytest.raises(InputError, match="train features must be finite"):
        fit_linear(np.full((4, 3), np.nan), np.arange(4))
