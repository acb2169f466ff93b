"""The laws of every transformation of images, and what each one promises."""

import math
import runpy
import sys

import pytest
import torch

from crvae3d.errors import InputError
from crvae3d.images import augment
from crvae3d.images.augment import Affine, Binarise, ColourJitter, Compose, HorizontalFlip

STILL = dict(degrees=0, shift=0, low=1, high=1)
ALL = [
    Affine(),
    Affine(30, 0.1, 0.75, 1.25),
    HorizontalFlip(),
    ColourJitter(),
    ColourJitter(1, 1, 1, 0.5),
    Binarise(),
    Compose([Affine(30), HorizontalFlip(), ColourJitter(), Binarise()]),
]
SIZES = [(1, 9, 14), (3, 16, 11)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(height: int, width: int, radius: float = 3.0) -> torch.Tensor:
    """A smooth spot in the middle of an image, (1, 1, height, width)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    squared = (y - (height - 1) / 2).square() + (x - (width - 1) / 2).square()
    return (-squared / (2 * radius**2)).exp()[None, None]


def centre_of_mass(x: torch.Tensor) -> torch.Tensor:
    """(B, 2): across and down, in pixels."""
    mass = x.sum(1)
    across, down = torch.arange(x.shape[-1]), torch.arange(x.shape[-2])
    return torch.stack([(mass.sum(1) * across).sum(1), (mass.sum(2) * down).sum(1)], 1) / mass.sum((1, 2))[:, None]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("transform", ALL, ids=repr)
class TestEveryTransformation:
    def test_is_a_function_of_the_generator(self, transform, size):
        x = torch.rand(6, *size)
        before = x.clone()
        one = transform(x, generator=seeded(4))
        torch.manual_seed(99)
        assert torch.equal(one, transform(x, generator=seeded(4))) and torch.equal(x, before)
        assert not torch.equal(one, transform(x, generator=seeded(5)))

    def test_is_the_same_under_autocast(self, transform, size):
        x = torch.rand(6, *size)
        with torch.autocast("cpu", torch.bfloat16):
            found = transform(x, generator=seeded())
        assert torch.equal(found, transform(x, generator=seeded()))

    def test_draws_from_the_global_generator_where_none_is_given(self, transform, size):
        x, found = torch.rand(6, *size), []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            found.append(transform(x))
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])

    def test_returns_images_of_the_same_form(self, transform, size):
        for kind in (torch.float32, torch.float64, torch.bfloat16):
            x = torch.rand(6, *size).to(kind)
            y = transform(x, generator=seeded())
            assert y.shape == x.shape and y.dtype == kind and y.min() >= 0 and y.max() <= 1
        assert transform(torch.rand(0, *size)).shape == (0, *size)

    def test_images_in_a_batch_do_not_see_each_other(self, transform, size):
        x, others = torch.rand(2, 6, *size)
        others[3] = x[3]
        one, same = transform(x, generator=seeded()), transform(others, generator=seeded())
        torch.testing.assert_close(one[3], same[3])
        assert not torch.equal(one, same)

    def test_draws_anew_for_every_image(self, transform, size):
        y = transform(torch.rand(1, *size).expand(12, -1, -1, -1), generator=seeded())
        assert not all(torch.equal(y[0], other) for other in y)

    def test_prints_its_arguments(self, transform, size):
        shown = repr(transform)
        assert shown.startswith(type(transform).__name__) and all(
            f"{name}={value}" in shown for name, value in vars(transform).items() if name != "transforms"
        )

    def test_what_is_no_batch_of_images_is_refused(self, transform, size):
        for wrong in (torch.rand(size), torch.zeros(2, *size, dtype=torch.uint8), [torch.rand(size)]):
            with pytest.raises(InputError, match="batch, channels, height, width"):
                transform(wrong)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nothing_changes_where_nothing_may(size):
    x = torch.rand(5, *size)
    torch.testing.assert_close(Affine(**STILL)(x), x, atol=1e-5, rtol=0)
    for transform in (HorizontalFlip(0), ColourJitter(0, 0, 0, 0), Compose([])):
        assert torch.equal(transform(x), x)


@pytest.mark.parametrize(("drawn", "turns"), [(-1.0, -1), (0.0, 0), (1.0, 1)])
def test_a_quarter_turn_is_that_of_torch(drawn, turns, monkeypatch):
    monkeypatch.setattr(augment, "uniform", lambda shape, *rest: torch.full(tuple(shape), drawn))
    x = torch.rand(3, 2, 15, 15)
    torch.testing.assert_close(Affine(90, 0, 1, 1)(x), x.rot90(turns, (-2, -1)), atol=1e-4, rtol=0)


def test_a_rotation_stays_within_its_degrees_and_turns_by_pixels_rather_than_by_shares():
    """A spot to the right of the centre of an image wider than high goes round on a circle."""
    x = torch.zeros(400, 1, 41, 61)
    x[..., 18:23, 43:48] = blob(5, 5, 1.0)
    away = centre_of_mass(Affine(**{**STILL, "degrees": 40})(x, generator=seeded())) - torch.tensor([30.0, 20.0])
    torch.testing.assert_close(away.norm(dim=1), torch.full((400,), 15.0), atol=0.05, rtol=0)
    angle = torch.rad2deg(torch.atan2(away[:, 1], away[:, 0]))
    assert angle.abs().max() < 40.2 and angle.max() > 36 and angle.min() < -36
    assert angle.mean().abs() < 5 * 40 / math.sqrt(3 * 400)


def test_a_shift_moves_by_shares_of_the_width_and_of_the_height():
    x = blob(40, 80, 2.0).expand(400, -1, -1, -1)
    moved = centre_of_mass(Affine(**{**STILL, "shift": 0.2})(x, generator=seeded())) - centre_of_mass(x)
    limit = torch.tensor([16.0, 8.0])
    assert (moved.abs().amax(0) <= limit + 0.05).all()
    assert (moved.amax(0) > 0.95 * limit).all() and (moved.amin(0) < -0.95 * limit).all()
    assert torch.corrcoef(moved.T)[0, 1].abs() < 0.25  # the two are drawn apart


def test_what_is_shifted_in_is_black():
    y = Affine(**{**STILL, "shift": 0.5})(torch.ones(50, 1, 20, 20), generator=seeded())
    assert (y.flatten(1).amin(1) == 0).all() and (y.flatten(1).amax(1) > 0.999).all()


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_a_scale_multiplies_the_area_by_its_square_and_leaves_the_centre(factor):
    x = blob(64, 48)
    y = Affine(0, 0, factor, factor)(x)
    assert (y.sum() / x.sum()).item() == pytest.approx(factor**2, rel=1e-2)
    torch.testing.assert_close(centre_of_mass(y), centre_of_mass(x), atol=1e-2, rtol=0)
    drawn = Affine(**{**STILL, "low": 0.75, "high": 1.25})(x.expand(400, -1, -1, -1), generator=seeded())
    factors = (drawn.sum((1, 2, 3)) / x.sum()).sqrt()
    assert 0.74 < factors.min() < 0.77 and 1.23 < factors.max() < 1.26
    assert factors.mean().item() == pytest.approx(1, abs=5 * 0.5 / math.sqrt(12 * 400))


def test_warping_is_differentiable():
    x = torch.rand(2, 1, 9, 9, requires_grad=True)
    Compose([Affine(), ColourJitter()])(x).square().sum().backward()
    assert x.grad.isfinite().all() and (x.grad != 0).any()


def test_a_flip_exchanges_left_and_right_as_often_as_said():
    x = torch.rand(2000, 1, 2, 3)
    assert torch.equal(HorizontalFlip(1)(x), x.flip(-1))
    y = HorizontalFlip(0.3)(x, generator=seeded())
    flipped = (y == x.flip(-1)).all(-1).all(-1).all(-1)
    assert torch.equal(y[~flipped], x[~flipped])
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_brightness_and_contrast_are_factors_drawn_evenly():
    x = 0.4 + 0.1 * torch.rand(1, 3, 5, 5).expand(400, -1, -1, -1)
    factor = ColourJitter(0.5, 0, 0, 0)(x, generator=seeded()) / x
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    assert 0.5 <= factor.min() < 0.52 and 1.48 < factor.max() < 1.51
    y = ColourJitter(0, 0.5, 0, 0)(x, generator=seeded())
    deviation = y.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.5 <= deviation.min() < 0.52 and 1.48 < deviation.max() < 1.51
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((y * luma).sum(1).mean((1, 2)), (x * luma).sum(1).mean((1, 2)))


def test_saturation_keeps_the_luma_and_hue_keeps_the_brightest_and_the_darkest():
    x = 0.3 + 0.4 * torch.rand(50, 3, 5, 5)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    y = ColourJitter(0, 0, 0.5, 0)(x, generator=seeded())
    torch.testing.assert_close((y * luma).sum(1), (x * luma).sum(1))
    turned = ColourJitter(0, 0, 0, 0.5)(x, generator=seeded())
    for extreme in (torch.amin, torch.amax):
        torch.testing.assert_close(extreme(turned, 1), extreme(x, 1), atol=1e-5, rtol=0)
    assert (turned - x).abs().amax((1, 2, 3)).min() > 1e-3


def test_hue_turns_by_shares_of_the_colour_circle(monkeypatch):
    """A third of it makes green of red, and blue of green."""
    monkeypatch.setattr(augment, "uniform", lambda shape, *rest: torch.ones(tuple(shape)))
    x = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])[:, :, None, None]
    torch.testing.assert_close(ColourJitter(0, 0, 0, 1 / 3)(x), x.roll(1, 1), atol=1e-4, rtol=0)


def test_grey_images_have_no_saturation_and_no_hue():
    x = torch.rand(5, 1, 6, 6)
    assert torch.equal(ColourJitter(0, 0, 1, 0.5)(x), x)
    with pytest.raises(InputError, match="1 or 3 channels"):
        ColourJitter()(torch.rand(5, 2, 6, 6))


def test_binarise_draws_every_pixel_with_its_grey_value_as_the_probability():
    x = torch.rand(1, 1, 6, 6)
    x[..., 0, 0], x[..., 0, 1] = 0, 1
    y = Binarise()(x.expand(5000, -1, -1, -1), generator=seeded())
    assert set(y.unique().tolist()) == {0.0, 1.0} and torch.equal(y[:, 0, 0, :2].mean(0), torch.tensor([0.0, 1.0]))
    error = (y.mean(0) - x[0]).abs() / ((x[0] * (1 - x[0])) / 5000 + 1e-9).sqrt()
    assert error.max() < 5
    assert Binarise()(y, generator=seeded()).equal(y)
    pairs = torch.corrcoef(y[:, 0, 2:4].flatten(1).T) - torch.eye(12)
    assert pairs.abs().max() < 0.08  # pixels are drawn apart


def test_compose_goes_from_first_to_last_with_one_generator():
    x, generator = torch.rand(4, 1, 8, 8), seeded(3)
    expected = Binarise()(Affine(30)(x, generator=generator), generator=generator)
    composed = Compose([Affine(30), Binarise()])
    assert torch.equal(composed(x, generator=seeded(3)), expected)
    assert repr(composed) == "Compose([Affine(degrees=30, shift=0.05, low=0.9, high=1.1), Binarise()])"


def test_impossible_arguments_are_refused():
    for build in (
        lambda: Affine(low=0),
        lambda: Affine(low=1.2, high=1.1),
        lambda: Affine(degrees=-1),
        lambda: Affine(shift=-0.1),
        lambda: HorizontalFlip(1.5),
        lambda: ColourJitter(brightness=1.5),
        lambda: ColourJitter(hue=0.6),
    ):
        with pytest.raises(InputError):
            build()


def test_only_those_that_need_kornia_ask_for_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)  # an import of it fails
    fresh, x = runpy.run_path(augment.__file__), torch.rand(2, 3, 8, 8)
    for name in ("Affine", "ColourJitter"):
        with pytest.raises(InputError, match=r"pip install 'crvae3d\[images\]'"):
            fresh[name]()(x)
    for name in ("HorizontalFlip", "Binarise"):
        assert fresh[name]()(x).shape == x.shape
