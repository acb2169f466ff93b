"""What ties a view's posterior to its original's: pair priors against Monte Carlo, contrastive losses against loops."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from crvae3d.core.contrastive import nt_xent, triplet
from crvae3d.core.divergences import DIVERGENCES, correlated_prior, shared_mean_prior
from crvae3d.core.posteriors import DiagonalGaussian


def gaussian(*shape: int) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(*shape).double(), 0.5 * torch.randn(*shape).double())


def codes(size: int = 6, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    originals = torch.randn(size, width, dtype=torch.float64)
    return originals + 0.7 * torch.randn(size, width, dtype=torch.float64), originals


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm()


@pytest.mark.parametrize("name", DIVERGENCES)
class TestEveryOne:
    def test_gives_a_number_a_shape_and_reaches_both_posteriors(self, name):
        leaves = [torch.randn(4, 3, requires_grad=True) for _ in range(4)]
        found = DIVERGENCES[name](DiagonalGaussian(*leaves[:2]), DiagonalGaussian(*leaves[2:]))
        assert found.shape == (4,) and found.isfinite().all()
        found.sum().backward()
        assert leaves[0].grad.abs().sum() > 0 and leaves[2].grad.abs().sum() > 0

    def test_favours_the_view_of_the_same_shape(self, name):
        original = gaussian(8, 6)
        near = DiagonalGaussian(original.mean + 0.05, original.log_variance)
        far = DiagonalGaussian(original.mean.roll(1, 0), original.log_variance)
        assert DIVERGENCES[name](near, original).mean() < DIVERGENCES[name](far, original).mean()


def pair_log_density(z, z_view, covariance):
    """log p(z, z') of a pair of codes, coordinate by coordinate, each pair with this 2 x 2 covariance."""
    prior = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    return prior.log_prob(torch.stack([z, z_view], dim=-1)).sum(-1)


def covariance_of(name: str) -> torch.Tensor:
    if name == "avae":
        return torch.tensor([[1, 0.9], [0.9, 1]], dtype=torch.float64)
    # mean ~ N(0, 1), and of the difference exp(-d^2 / 4 s^2): a normal of variance 2 s^2
    return torch.tensor([[1 + 0.15 / 2, 1 - 0.15 / 2], [1 - 0.15 / 2, 1 + 0.15 / 2]], dtype=torch.float64)


@pytest.mark.parametrize(("name", "prior"), [("avae", correlated_prior), ("simvae", shared_mean_prior)])
def test_a_pair_prior_is_the_expected_log_ratio_of_normalised_densities(name, prior):
    view, original = gaussian(2, 3), gaussian(2, 3)
    z_view, z = view.sample(torch.Size([200_000])), original.sample(torch.Size([200_000]))
    alone = Independent(Normal(torch.zeros(3).double(), 1), 1)
    ratio = alone.log_prob(z) + alone.log_prob(z_view) - pair_log_density(z, z_view, covariance_of(name))
    error = ratio.std(0) / 200_000**0.5
    assert ((ratio.mean(0) - prior(view, original)).abs() < 5 * error).all()


def test_codes_without_correlation_are_two_priors():
    view, original = gaussian(4, 3), gaussian(4, 3)
    torch.testing.assert_close(correlated_prior(view, original, 0.0), torch.zeros(4).double())
    torch.testing.assert_close(correlated_prior(view, original), correlated_prior(original, view))


def slow_nt_xent(views, originals, temperature):
    everything = [unit(code) for code in [*views, *originals]]
    size = len(views)
    losses = []
    for place in range(2 * size):
        partner = (place + size) % (2 * size)
        scores = {
            other: math.exp(float(everything[place] @ everything[other]) / temperature)
            for other in range(2 * size)
            if other != place
        }
        losses.append(-math.log(scores[partner] / sum(scores.values())))
    return [(losses[place] + losses[place + size]) / 2 for place in range(size)]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_its_definition(temperature):
    views, originals = codes()
    found = nt_xent(views, originals, temperature)
    torch.testing.assert_close(found.tolist(), slow_nt_xent(views, originals, temperature))
    assert gradcheck(nt_xent, (views.requires_grad_(), originals.requires_grad_()))


def test_standardised_nt_xent_heeds_no_coordinate_more_for_its_scale_or_place():
    views, originals = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = torch.cat([views, originals])
    standard = (both - both.mean(0)) / both.std(0)
    found = nt_xent(views, originals, 0.2, standardised=True)
    torch.testing.assert_close(found.tolist(), slow_nt_xent(standard[:6], standard[6:], 0.2), rtol=1e-6, atol=0)
    scale, place = torch.tensor([0.5, 1, 50, 3.0]).double(), torch.tensor([7.0, 0, -2, 1]).double()
    moved = nt_xent(views * scale + place, originals * scale + place, 0.2, standardised=True)
    torch.testing.assert_close(moved, found, rtol=1e-6, atol=0)
    assert not torch.allclose(nt_xent(views * scale, originals * scale, 0.2), nt_xent(views, originals, 0.2))
    assert gradcheck(lambda *codes: nt_xent(*codes, 0.2, True), (views.requires_grad_(), originals.requires_grad_()))
    still = torch.ones(4, 3, requires_grad=True)  # a coordinate that does not vary has a gradient all the same
    nt_xent(still, still, standardised=True).sum().backward()
    assert still.grad.isfinite().all()


def slow_triplet(views, originals, margin):
    losses = []
    for place, original in enumerate(originals):
        distances = [float((unit(original) - unit(view)).square().sum()) for view in views]
        others = [distance for other, distance in enumerate(distances) if other != place]
        farther = [distance for distance in others if distance > distances[place]]
        losses.append(max(0.0, distances[place] - (min(farther) if farther else max(others)) + margin))
    return losses


def test_triplet_is_its_definition_with_and_without_semi_hard_negatives():
    views, originals = codes(12)
    views[3] = -originals[3]  # every other view is nearer
    found = triplet(views, originals, 0.4)
    torch.testing.assert_close(found.tolist(), slow_triplet(views, originals, 0.4))
    assert 0 < (found == 0).sum() < 12 and found[3] > 0.4


@pytest.mark.parametrize("loss", [nt_xent, triplet])
def test_lengths_of_codes_mean_nothing_and_the_order_of_shapes_neither(loss):
    views, originals = codes()
    torch.testing.assert_close(loss(3 * views, 0.2 * originals), loss(views, originals))
    torch.testing.assert_close(loss(views.flip(0), originals.flip(0)), loss(views, originals).flip(0))


@pytest.mark.parametrize("loss", [nt_xent, triplet])
def test_one_shape_has_nothing_to_be_told_apart_from(loss):
    view = torch.randn(1, 3, requires_grad=True)
    found = loss(view, torch.randn(1, 3))
    found.sum().backward()
    assert found.tolist() == [0.0] and view.grad.abs().max() == 0


def test_perfect_codes_cost_nothing():
    code = torch.eye(4)
    assert triplet(code, code).tolist() == [0.0] * 4
    assert nt_xent(code, code, 0.05).max() < 1e-6


def test_kl_of_nearly_equal_posteriors_keeps_its_digits():
    mean, one = torch.zeros(512), torch.randn(512)
    other = one + 3e-4 * torch.randn(512)

    def kl(of: torch.dtype) -> torch.Tensor:
        return kl_divergence(*(DiagonalGaussian(mean.to(of), part.to(of)) for part in (other, one)))

    assert 1e-6 < kl(torch.float64) < 1e-4
    torch.testing.assert_close(kl(torch.float32).double(), kl(torch.float64), rtol=1e-2, atol=0)
