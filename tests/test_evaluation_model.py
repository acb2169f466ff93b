"""What is asked of a model: codes, information, reconstructions, the consistency gap, alarms, all figures together."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from crvae3d.core.posteriors import DiagonalGaussian, standard_normal
from crvae3d.errors import InputError
from crvae3d.evaluation.alarms import alarms
from crvae3d.evaluation.clustering import clustering
from crvae3d.evaluation.codes import Codes, encode
from crvae3d.evaluation.consistency import consistency_gap, moved_by, views
from crvae3d.evaluation.evaluate import LABELLED, UNTRAINED, Further, evaluate_controls, evaluate_model
from crvae3d.evaluation.fewshot import few_shot
from crvae3d.evaluation.information import active_units, mean_rate, rate_per_dimension
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.labelled import Labelled, LabelledShapes, labelled_figures
from crvae3d.evaluation.linear import linear_probe
from crvae3d.evaluation.reconstruction import distortion, diversity, reconstruct, reconstruction_error
from crvae3d.evaluation.retrieval import retrieval
from crvae3d.evaluation.robustness import Corrupted, flat
from crvae3d.points import augment
from crvae3d.points.batch import dense
from crvae3d.points.models import PointModel

DEVIATION = 0.5


class Centroid(nn.Module):
    """q(z|x) = N( weight * centroid(x), 0.25 I ); the pooled features are the centroid and the largest coordinates."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.drop = nn.Dropout(0.5)  # tells whether it was held still

    def forward(self, x: object) -> Independent:
        return self.posterior(self.pool(x))

    def posterior(self, pooled: Tensor) -> Independent:
        return Independent(Normal(self.drop(self.weight * pooled[:, :3]), DEVIATION, validate_args=False), 1)

    def pool(self, x: object) -> Tensor:
        points, mask = dense(x)
        mask = torch.ones(points.shape[:2], dtype=torch.bool) if mask is None else mask
        mean = (points * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.cat([mean, points.amax(1)], dim=1)


class Stamp(nn.Module):
    """Draws the same small cross about each code, or about the origin whatever the code."""

    def __init__(self, reads: bool = True) -> None:
        super().__init__()
        self.reads = reads

    def forward(self, codes: Tensor) -> Independent:
        cross = 0.1 * torch.cat([torch.eye(3), -torch.eye(3)])
        return Independent(Normal(cross + self.reads * codes[:, None], 1.0, validate_args=False), 2)


class Toy(nn.Module):
    def __init__(self, weight: float = 1.0, reads: bool = True) -> None:
        super().__init__()
        self.encoder = Centroid(weight)
        self.decoder = Stamp(reads)


class Listed(torch.utils.data.Dataset):
    """Clouds behind the interface of a dataset, with or without reading many at once."""

    def __init__(self, clouds: Tensor, many: bool) -> None:
        self.clouds = clouds
        if many:
            self.__getitems__ = lambda indices: clouds[indices]

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> Tensor:
        return self.clouds[index]


def crosses(shapes: int, seed: int = 0) -> Tensor:
    """Small crosses at random places: what `Toy` reconstructs perfectly."""
    places = torch.rand(shapes, 1, 3, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return places + 0.1 * torch.cat([torch.eye(3), -torch.eye(3)])


def moved(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    return x + torch.tensor([0.3, 0.0, -0.4])


def test_codes_are_the_models_own_from_any_source_in_any_batches():
    clouds, model = crosses(23), Toy()
    codes = encode(model, clouds, batch_size=5, progress=False)
    np.testing.assert_allclose(codes.means, clouds.mean(1), atol=1e-6)
    np.testing.assert_allclose(codes.pooled[:, 3:], clouds.amax(1), atol=1e-6)
    assert (codes.stddevs == DEVIATION).all() and codes.rates is None
    assert {part.dtype for part in (codes.means, codes.stddevs, codes.pooled)} == {np.dtype("float32")}
    for source in (clouds.numpy(), Listed(clouds, many=True), Listed(clouds, many=False)):
        other = encode(model, source, batch_size=64, progress=False)
        np.testing.assert_allclose(other.means, codes.means, atol=1e-6)
    with pytest.raises(InputError, match="empty set"):
        encode(model, clouds[:0], progress=False)


def test_every_module_is_afterwards_in_the_mode_it_was_in():
    model = Toy().train()
    model.decoder.eval()
    for ask in (encode, reconstruct, lambda *given, **how: consistency_gap(*given, moved, **how)):
        ask(model, crosses(3), progress=False)
        assert model.training and model.encoder.drop.training and not model.decoder.training
    with pytest.raises(InputError):
        encode(model, torch.zeros(2, 5, 2), progress=False)
    assert model.encoder.drop.training and torch.is_grad_enabled()


def test_active_units_are_those_that_differ_between_shapes():
    draw = np.random.default_rng(0)
    wave = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None]  # of variance 1
    means = np.hstack([wave * 0.11, wave * 0.09, wave * 3, np.full((100, 1), 7.0)])
    assert active_units(means) == 2 and active_units(means, 0.001) == 3 and active_units(means, 10) == 0
    assert active_units(means[draw.permutation(100)] + 5) == 2


def test_rate_is_the_kl_to_the_standard_normal():
    mean, log_variance = torch.randn(50, 6), torch.randn(50, 6)
    posterior = DiagonalGaussian(mean, log_variance)
    given = mean.numpy(), posterior.stddev.numpy()
    assert mean_rate(*given) == pytest.approx(kl_divergence(posterior, standard_normal(6)).mean().item(), rel=1e-5)
    each = kl_divergence(Normal(mean, posterior.stddev), Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose(rate_per_dimension(*given), each, rtol=1e-4)


def test_a_perfect_model_reconstructs_exactly_and_as_diversely_as_the_shapes():
    clouds, model = crosses(20), Toy()
    made = reconstruct(model, Listed(clouds, many=True), batch_size=7, progress=False)
    torch.testing.assert_close(made, clouds)
    np.testing.assert_allclose(
        reconstruction_error(made, clouds, batch_size=6, progress=False), np.zeros(20), atol=1e-10
    )
    shift = reconstruction_error(made + torch.tensor([0.01, 0, 0]), clouds, progress=False)
    np.testing.assert_allclose(shift, np.full(20, 2e-4), rtol=1e-3)  # both directions, squared
    found = diversity(made, clouds)
    assert found.ratio == pytest.approx(1) and found.shapes > 0.1


def test_diversity_compares_different_shapes_only():
    pair = torch.tensor([[[0.0, 0, 0]], [[0.0, 0, 2]]])
    found = diversity(pair / 2, pair)
    assert (found.shapes, found.reconstructions, found.ratio) == (8.0, 2.0, 0.25)
    assert diversity(pair[:1], pair[:1]) is None
    assert diversity(pair[:1].expand(9, -1, -1), crosses(9)).ratio == 0.0


@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
def test_the_gap_of_a_translation_is_known(weight):
    """The mean moves by weight * (0.3, 0, -0.4), so KL = weight^2 0.5^2 / (2 * 0.5^2) = weight^2 / 2."""
    assert consistency_gap(Toy(weight), crosses(11), moved, batch_size=4, progress=False) == pytest.approx(
        weight**2 / 2, abs=1e-5
    )


def test_a_posterior_that_a_transformation_does_not_move_has_no_gap():
    clouds = crosses(9) - crosses(9).mean(1, keepdim=True)
    gaps = moved_by(Toy(), clouds, {"turn": augment.Rotate(180), "none": augment.Identity()}, progress=False)
    assert gaps["none"].gap == gaps["none"].shift == 0
    assert gaps["turn"].gap == pytest.approx(0, abs=1e-9)


class Unrelated(augment.CloudTransform):
    """Another cross altogether."""

    def warp(self, points, mask, generator):
        return points - points.mean(1, keepdim=True) + torch.randn(len(points), 1, 3, generator=generator), mask


@pytest.mark.parametrize("weight", [0.3, 3.0])
def test_the_shift_is_a_share_of_the_distance_between_shapes_in_any_unit(weight):
    clouds = crosses(400) - crosses(400).mean(1, keepdim=True) + torch.randn(400, 1, 3)
    asked = {"same": augment.Identity(), "other": Unrelated(), "move": moved}
    found = moved_by(Toy(weight), clouds, asked, progress=False)
    means = clouds.mean(1)
    pairs = (means[:, None] - means).square().sum(-1).sum() / (400 * 399)
    assert found["same"].shift == 0
    assert found["other"].shift == pytest.approx(1, abs=0.1)  # as far as any other shape
    assert found["move"].shift == pytest.approx(0.25 / pairs.item(), rel=1e-3)


def test_shapes_of_one_code_have_no_shift():
    assert moved_by(Toy(0.0), crosses(5), {"move": moved}, progress=False)["move"].shift is None


def test_half_precision_hides_no_gap():
    torch.manual_seed(0)
    model = PointModel(code_size=8, encoder_widths=(16, 32), head_widths=()).build()
    asked = model, crosses(20), {"move": augment.Jitter(0.01)}
    alone = moved_by(*asked, progress=False)["move"]
    with torch.autocast("cpu", torch.bfloat16):
        assert moved_by(*asked, progress=False)["move"] == alone


@pytest.mark.parametrize("transform", [augment.Jitter(0.1), augment.DropPoints(0.7), augment.Subset(3)], ids=repr)
def test_views_depend_on_the_seed_and_the_place_alone(transform):
    clouds = torch.randn(10, 40, 3)
    gap = consistency_gap(Toy(), clouds, transform, seed=1, progress=False)
    torch.manual_seed(77)
    assert consistency_gap(Toy(), clouds, transform, seed=1, batch_size=3, progress=False) == pytest.approx(
        gap, rel=1e-5
    )
    assert consistency_gap(Toy(), clouds, transform, seed=2, progress=False) != pytest.approx(gap, rel=1e-3)
    same = clouds[:1].expand(4, -1, -1)
    one, other = (dense(views(same, [0, 1, 2, 3], transform, seed))[0] for seed in (1, 1))
    assert torch.equal(one, other) and not torch.equal(one[0], one[1])


def codes_of(means: np.ndarray, deviation: float = 0.1) -> Codes:
    return Codes(means.astype(np.float32), np.full(means.shape, deviation, np.float32), means.astype(np.float32))


def test_alarms_say_that_the_posterior_has_collapsed():
    wide = np.random.default_rng(0).normal(size=(80, 200))
    (nothing,) = alarms(codes_of(0 * wide, 1.0))
    assert "0 of 200 units" in nothing and "collapsed" in nothing and "--beta" in nothing
    (constant,) = alarms(codes_of(0 * wide + 3, 0.1))  # codes far from the prior, yet the same for all shapes
    assert "0 of 200 units" in constant
    (slight,) = alarms(codes_of(0.15 * wide[:, :3], 0.99))  # all of them vary, and tell nearly nothing
    assert "3 of 3 units" in slight and "codes hardly differ" in slight
    wide[:, 3:] *= 1e-3
    (few,) = alarms(codes_of(wide))
    assert "most of the posterior has collapsed" in few and "3 of 200" in few
    assert alarms(codes_of(wide[:1])) == ()  # one shape cannot tell


def test_alarms_say_that_reconstructions_are_one_shape():
    clouds = crosses(30)
    healthy = codes_of(clouds.mean(1).numpy())
    for reads, expected in ((True, 0), (False, 1)):
        made = reconstruct(Toy(reads=reads), clouds, progress=False)
        found = alarms(healthy, diversity(made, clouds))
        assert len(found) == expected and all("one shape" in sentence and "0.0%" in sentence for sentence in found)


def test_alarms_say_that_codes_are_not_finite():
    means = np.random.default_rng(0).normal(size=(50, 8))
    means[[3, 4], 2] = np.nan, np.inf
    (sentence,) = alarms(codes_of(means))
    assert sentence.startswith("2 of 50 shapes have codes that are not finite") and "learning-rate" in sentence


def labelled(shapes: int, seed: int) -> LabelledShapes:
    """Crosses whose class is the octant of their centre, at a distance from the borders."""
    draw = torch.Generator().manual_seed(seed)
    sign = torch.randint(2, (shapes, 3), generator=draw)
    places = (2 * sign - 1) * (0.3 + 0.4 * torch.rand(shapes, 3, generator=draw))
    clouds = places[:, None] + 0.1 * torch.cat([torch.eye(3), -torch.eye(3)])
    return LabelledShapes(Listed(clouds, many=True), (sign @ torch.tensor([4, 2, 1])).numpy())


FIGURES = {
    *LABELLED,
    *("chamfer", "consistency_gap", "consistency_gap_move", "consistency_gap_none", "active_units", "code_size"),
    *("consistency_shift", "consistency_shift_move", "consistency_shift_none"),
    *("rate", "distortion", "mutual_information", "mutual_information_cap", "alarms", "n_train", "n_test"),
}


def test_all_figures_of_a_perfect_model_beside_a_blind_one():
    train, test = labelled(300, 0), labelled(100, 1)
    transforms = {"move": moved, "none": augment.Identity()}
    blind = Toy(weight=0.0)
    found = evaluate_model(Toy(), train, test, transforms, progress=False)
    controls = evaluate_controls(blind, train, test, progress=False)
    assert found.keys() == FIGURES and json.loads(json.dumps(found, allow_nan=False)) == found
    perfect = (
        "svm_accuracy",
        "svm_accuracy_pooled",
        "knn_accuracy",
        "knn_accuracy_pooled",
    )
    assert [found[name] for name in perfect] == [1.0] * 4
    assert tuple(controls) == (*UNTRAINED, "occupancy_accuracy")
    assert controls["untrained_accuracy_pooled"] == controls["occupancy_accuracy"] == 1
    assert controls["untrained_accuracy"] < 0.3 and controls["untrained_knn_accuracy"] < 0.3
    assert found["chamfer"] == pytest.approx(0, abs=1e-9) and found["alarms"] == []
    assert (found["active_units"], found["code_size"], found["n_train"], found["n_test"]) == (3, 3, 300, 100)
    assert found["consistency_gap_move"] == pytest.approx(0.5, rel=1e-4) and found["consistency_gap_none"] == 0
    assert found["consistency_gap"] == pytest.approx(0.25, rel=1e-4)
    means = encode(Toy(), test.points, progress=False).means
    assert found["rate"] == pytest.approx(3 * (0.25 - 1 - np.log(0.25)) / 2 + (means**2).sum(1).mean() / 2, rel=1e-4)


class Dim(Toy):
    """Codes of which noise, a function of the shape, hides much."""

    def __init__(self) -> None:
        super().__init__()
        see = self.encoder.posterior
        self.encoder.posterior = lambda pooled: see(pooled + 0.7 * torch.sin(1e4 * pooled))


def test_each_figure_is_the_one_that_it_is_called():
    train, test, model = labelled(300, 0), labelled(200, 1), Dim()
    found = evaluate_model(model, train, test, {}, progress=False)
    codes = [encode(model, part.points, progress=False) for part in (train, test)]
    for suffix, part in {"": "means", "_pooled": "pooled"}.items():
        known, asked = (getattr(one, part) for one in codes)
        pair = known, train.labels, asked, test.labels
        ranked, clusters = retrieval(asked, test.labels), clustering(asked, test.labels, 0)
        shots = {f"{ways}_{shots}": few_shot(*pair, ways, shots, 10) for ways, shots in ((5, 10), (5, 20))}
        expected = {
            "svm_accuracy": linear_probe(*pair).accuracy,
            "svm_literature": linear_probe(*pair, literature=True).accuracy,
            "knn_accuracy": knn_probe(*pair).accuracy,
            "retrieval_map": ranked.mean_average_precision,
            "nmi": clusters.nmi,
            "ari": clusters.ari,
            **{f"recall_{k}": value for k, value in ranked.recall.items()},
            **{f"few_shot_{name}": one.accuracy for name, one in shots.items()},
            **{f"few_shot_{name}_deviation": one.deviation for name, one in shots.items()},
        }
        assert {name: found[name + suffix] for name in expected} == pytest.approx(expected)
        if not suffix:  # pooled features of this model are nearly perfect
            assert all(0.01 < share < 0.99 for share in expected.values())
            assert len({round(share, 3) for share in expected.values()}) > 10
    assert found["retrieval_map"] < found["retrieval_map_pooled"] - 0.1


def test_each_read_out_is_judged_by_itself():
    train, test = labelled(60, 0), labelled(40, 1)
    known, asked = (encode(Toy(), part.points, progress=False) for part in (train, test))
    broken = replace(asked, means=np.full_like(asked.means, np.nan))
    found, classifiers = labelled_figures(Labelled(known, broken, train.labels, test.labels), progress=False)
    assert (
        list(classifiers) == ["_pooled"] and found["retrieval_map_pooled"] > 0.5 and found["svm_accuracy_pooled"] > 0.5
    )
    assert all(value is None for name, value in found.items() if not name.endswith("_pooled"))
    found, classifiers = labelled_figures(Labelled(known, asked, train.labels, test.labels + 8), progress=False)
    told = {name for name, value in found.items() if value is not None}  # of other classes no classifier can tell
    assert not classifiers and told == {
        name + suffix
        for name in ("retrieval_map", "recall_1", "recall_5", "recall_10", "nmi", "ari")
        for suffix in ("", "_pooled")
    }


def test_distortion_is_what_the_decoder_pays_at_a_code_of_the_posterior():
    clouds, sides = crosses(2000), {"batch_size": 500, "progress": False}
    found = distortion(Toy(), clouds, **sides)
    # 18 numbers of deviation 1, each moved by its coordinate of the code's noise.
    assert found == pytest.approx(18 * np.log(2 * np.pi) / 2 + 18 * DEVIATION**2 / 2, abs=0.15)
    assert found == distortion(Toy(), clouds, **sides) != distortion(Toy(), clouds, seed=1, **sides)
    apart = 3 * float(clouds.mean(1).square().sum(1).mean())  # of a cross about the origin, whatever the code
    assert distortion(Toy(reads=False), clouds, **sides) == pytest.approx(18 * np.log(2 * np.pi) / 2 + apart, rel=1e-5)


def test_the_controls_are_corrupted_as_the_model_is():
    train, test = labelled(300, 0), labelled(100, 1)
    turned = {"turned": lambda strength: lambda clouds, generator=None: clouds if strength < 3 else -clouds}
    corrupted = [Corrupted(turned, test)]
    found = evaluate_model(Toy(), train, test, {}, progress=False, further=Further(corrupted))
    controls = evaluate_controls(Toy(), train, test, progress=False, corrupted=corrupted)
    for accuracies in (found["robustness"][""], controls["untrained_robustness"][""]):
        assert accuracies == {"turned": [1, 1, 0, 0, 0]}  # each class becomes the opposite one
    assert flat(controls)["untrained_robust/turned"] == pytest.approx(0.4)
    assert flat(found)["robust_pooled/turned/2"] == 1


def test_of_an_encoder_alone_no_collapse_is_told_but_codes_that_are_not_finite():
    train, test = labelled(40, 0), labelled(20, 1)
    alone = nn.Module()
    for weight, expected in ((0.0, 0), (np.nan, 1)):
        alone.encoder = Centroid(weight)
        assert len(evaluate_model(alone, train, test, {}, progress=False)["alarms"]) == expected
    others = replace(test, labels=test.labels + 8)  # of no class that is fitted
    found = evaluate_model(alone, train, others, {}, progress=False)
    assert found["retrieval_map"] is None and len(found["alarms"]) == 1


def test_without_labels_the_figures_that_need_them_are_none():
    train, test = labelled(40, 0), labelled(20, 1)
    for pair in ((train, LabelledShapes(test.points)), (LabelledShapes(train.points), test)):
        found = evaluate_model(Toy(), *pair, {}, progress=False)
        assert set(evaluate_controls(Toy(), *pair, progress=False).values()) == {None}
        assert {name for name, value in found.items() if value is None} == {
            *LABELLED,
            "consistency_gap",
            "consistency_shift",
        }
        assert found["active_units"] == 3 and found["chamfer"] < 1e-9


def test_a_diverged_model_is_an_alarm_and_not_a_crash():
    found = evaluate_model(Toy(float("nan")), labelled(60, 0), labelled(20, 1), {"move": moved}, progress=False)
    assert json.loads(json.dumps(found, allow_nan=False)) == found and "20 of 20 shapes" in found["alarms"][0]
    for name in ("svm_accuracy", "knn_accuracy", "rate", "chamfer", "consistency_gap", "consistency_gap_move"):
        assert found[name] is None, name
