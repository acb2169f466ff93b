"""Options become exactly the objective that they name: equal by value to one that is written out here."""

import math
from dataclasses import asdict, dataclass, replace

import pytest
import torch

from crvae3d.core.consistency import Consistent
from crvae3d.core.objectives import ELBO, IWAE, Autoencoder, EncoderOnly
from crvae3d.core.schedules import CoolDown, WarmUp
from crvae3d.experiment import tables
from crvae3d.experiment.settings import Settings
from crvae3d.experiment.tables import Objective
from crvae3d.points.augment import CloudTransform, Compose, RotateSO3
from crvae3d.points.batch import dense


@dataclass(frozen=True)
class Views:
    """Stands for what makes the views of a family."""

    family: str

    def __call__(self, x, generator):
        return x


t, far = Views("mixed"), Views("far")
PLAIN = ELBO(0.005)
OBJECTIVES = [
    ({}, Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, far)),
    (tables.PAPER, Consistent(PLAIN, 1.0, Views("scale"), 1, "kl", False, "view", 0.0, 0.1)),
    (tables.INVARIANT, Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, Views("so3"))),
    ({"consistency": 0.0}, Consistent(PLAIN, 0.0, None, 0, "kl", False, "original", 0.0, 0.1)),
    ({"consistency": 0.0, "views": 1}, Consistent(PLAIN, 0.0, t, 1, "kl", False, "original", 0.0, 0.1)),
    ({"contrast": 0.0, "views": 3}, Consistent(PLAIN, 1.0, t, 3, "kl", False, "original", 0.0, 0.1)),
    ({"temperature": 0.5}, Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.5, far)),
    (
        {"transform": "mixed-outliers"},
        Consistent(
            *(PLAIN, 1.0, Views("mixed-outliers"), 1, "kl", False, "original", 1000.0, 0.2, Views("far-outliers"))
        ),
    ),
    ({"contrast_transform": "mixed"}, Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2)),
    ({"transform": "so3"}, Consistent(PLAIN, 1.0, Views("so3"), 1, "kl", False, "original", 1000.0, 0.2)),
    (
        {"contrast_transform": "jitter"},
        Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, Views("jitter")),
    ),
    (
        {"contrast_standardised": True},
        Consistent(*(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, far), contrast_standardised=True),
    ),
    ({"contrast_both": True}, Consistent(PLAIN, 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, far, True)),
    (
        {"objective": "autoencoder", "contrast": 3.0},
        Consistent(Autoencoder(), 0.0, t, 1, "kl", False, "original", 3.0, 0.2),
    ),
    (
        {"objective": "none", "contrast": 3.0},
        Consistent(EncoderOnly(), 1.0, t, 1, "kl", False, "original", 3.0, 0.2),
    ),
    ({"beta": 1.0, "consistency": 0.3}, Consistent(ELBO(1.0), 0.3, t, 1, "kl", False, "original", 1000.0, 0.2, far)),
    ({"stop_gradient": True}, Consistent(PLAIN, 1.0, t, 1, "kl", True, "original", 1000.0, 0.2, far)),
    ({"divergence": "reverse"}, Consistent(PLAIN, 1.0, t, 1, "reverse", False, "original", 0.0, 0.1)),
    ({"divergence": "wasserstein"}, Consistent(PLAIN, 10.0, t, 1, "wasserstein", False, "original", 0.0, 0.1)),
    ({"divergence": "avae", "beta": 0.5}, Consistent(ELBO(0.5), 0.5, t, 1, "avae", False, "original", 0.0, 0.1)),
    (
        {"divergence": "simvae", "consistency": 0.5},
        Consistent(PLAIN, 0.0025, t, 1, "simvae", False, "original", 0.0, 0.1),
    ),
    (
        {"objective": "none", "divergence": "triplet"},
        Consistent(EncoderOnly(), 100.0, t, 1, "triplet", False, "original", 0.0, 0.1),
    ),
    ({"objective": "autoencoder"}, Consistent(Autoencoder(), 0.0, None, 0, "kl", False, "original", 0.0, 0.1)),
    (
        {"objective": "autoencoder", "divergence": "wasserstein"},
        Consistent(Autoencoder(), 10.0, t, 1, "wasserstein", False, "original", 0.0, 0.1),
    ),
    ({"objective": "iwae"}, Consistent(IWAE(5), 1.0, t, 1, "kl", False, "original", 1000.0, 0.2, far)),
    (
        {"objective": "iwae", "samples": 50, "gradient": "one", "contrast": 0.0},
        Consistent(IWAE(50, "one"), 1.0, t, 1, "kl", False, "original", 0.0, 0.1),
    ),
    (
        {"warm_up": 0.3, "cool_down": 0.2},
        Consistent(
            ELBO(WarmUp(0.005, 0.3)),
            CoolDown(WarmUp(1.0, 0.3), 0.2),
            t,
            1,
            "kl",
            False,
            "original",
            CoolDown(WarmUp(1000.0, 0.3), 0.2),
            0.2,
            far,
        ),
    ),
]


@pytest.mark.parametrize(
    ("options", "expected"), OBJECTIVES, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_options_make_the_objective_that_they_name(options, expected):
    assert Settings.of("shapes", **options).objective.build(Views) == expected


def test_images_have_the_papers_form():
    assert Settings.of("digits").objective.build(Views) == Consistent(
        ELBO(1.0), 1.0, Views("affine"), 1, "kl", False, "view", 0.0, 0.1
    )


def linear_maps(transform: CloudTransform, draws: int = 400) -> torch.Tensor:
    """The matrices (draws, 3, 3) by which a linear transformation moves points: rows of what it makes of the axes."""
    axes = torch.eye(3).expand(draws, 3, 3)
    return dense(transform(axes, generator=torch.Generator().manual_seed(0)))[0].mT.double()


def without_thinning(family: str) -> Compose:
    """A family of views less the jitter and the choice of points that each ends in."""
    whole = tables.TRANSFORMS[family](64)
    assert [type(part).__name__ for part in whole.transforms[-2:]] == ["Jitter", "Subset"]
    return Compose(whole.transforms[:-2])


def angles(rotations: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(((rotations.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).arccos())


class TestFamiliesOfViews:
    @pytest.mark.parametrize(
        ("family", "least", "most", "farthest"),
        [
            ("jitter", 1.0, 1.0, 0),
            ("scale", 0.8, 1.25, 0),
            ("stretch", 0.7, 1.4, 0),
            ("tilt", 0.7, 1.4, 15),
            ("azimuth", 0.8, 1.25, 180),
            ("so3", 0.8, 1.25, 180),
            ("mixed", 0.7, 1.4, 45),
            ("far", 0.7, 1.4, 90),
        ],
    )
    def test_stretch_and_turn_as_far_as_they_say_and_no_farther(self, family, least, most, farthest):
        left, sizes, right = torch.linalg.svd(linear_maps(without_thinning(family)))
        assert sizes.min() >= least - 1e-5 and sizes.max() <= most + 1e-5
        if least < most:
            assert sizes.min() < least + 0.03 and sizes.max() > most - 0.05
        turned = angles(left @ right)
        assert turned.max() <= farthest + 0.1 and turned.max() >= 0.9 * farthest

    def test_so3_covers_all_rotations_evenly_and_azimuth_keeps_what_is_up(self):
        left, _, right = torch.linalg.svd(linear_maps(without_thinning("so3"), 4000))
        traces = (left @ right).diagonal(dim1=1, dim2=2).sum(1)
        assert traces.mean().abs() < 0.06 and abs(traces.square().mean() - 1) < 0.1  # as of Haar's measure
        moved = linear_maps(without_thinning("azimuth"))
        torch.testing.assert_close(moved[:, 2, :2], torch.zeros(400, 2, dtype=torch.float64))

    @pytest.mark.parametrize("family", ["mixed", "far", "mixed-outliers", "far-outliers"])
    def test_mixed_and_far_leave_any_number_of_points_down_to_an_eighth(self, family):
        x, generator = torch.randn(1, 64, 3), torch.Generator().manual_seed(0)
        views = tables.TRANSFORMS[family](64)
        left = [dense(views(x, generator=generator))[0].shape[1] for _ in range(400)]  # one number a batch
        assert min(left) == 8 and 62 <= max(left) <= 64

    @pytest.mark.parametrize(("family", "farthest"), [("mixed-outliers", 45), ("far-outliers", 90)])
    def test_up_to_a_fifth_of_the_points_are_outliers_and_the_others_are_turned_as_without(self, family, farthest):
        x = 0.01 * torch.randn(2000, 64, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 0.0, 0.7])
        moved = dense(without_thinning(family)(x, generator=torch.Generator().manual_seed(1)))[0]
        middle = moved.median(1).values
        share = ((moved - middle[:, None]).norm(dim=-1) > 0.2).double().mean(1)
        assert share.mean().item() == pytest.approx(0.1, abs=0.01) and share.min() == 0 and 0.18 < share.max() < 0.22
        turned = torch.rad2deg((middle[:, 2] / middle.norm(dim=-1)).arccos()).max()  # stretching turns a direction too
        assert farthest - 10 < turned < farthest + 25

    def test_crop_leaves_as_many_points_as_it_says(self):
        x, generator = torch.randn(400, 64, 3), torch.Generator().manual_seed(0)
        sizes = dense(without_thinning("crop")(x, generator=generator))[1].sum(1)
        assert sizes.min() == 64 - math.floor(0.3 * 64) and sizes.max() == 64

    @pytest.mark.parametrize(("name", "farthest"), [("tilt", 15), ("azimuth", 180), ("so3", 180)])
    def test_gaps_are_measured_under_what_they_are_called(self, name, farthest):
        moved = linear_maps(tables.GAPS[name])
        torch.testing.assert_close(
            moved @ moved.mT, torch.eye(3, dtype=torch.float64).expand_as(moved), atol=1e-5, rtol=0
        )
        assert 0.9 * farthest <= angles(moved).max() <= farthest + 0.1
        upright = (moved[:, 2, 2] - 1).abs().max() < 1e-5
        assert upright == (name != "so3") and isinstance(tables.GAPS["so3"], RotateSO3)


def test_a_hierarchy_of_before_is_not_told_to_be_balanced_as_those_of_today():
    today = Settings.of("digits", model="nvae").objective
    kept = {name: value for name, value in asdict(today).items() if name != "balance_groups"}
    for balance in (False, True):  # by another rule
        assert Objective.recorded(kept | {"balance": balance}) == replace(today, balance_groups=False) != today
