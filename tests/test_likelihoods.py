"""Likelihoods of a cloud: normalised where they say so, and each the limit of the other."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from crvae3d.points import batch, likelihoods
from crvae3d.points.batch import Ragged
from crvae3d.points.likelihoods import LIKELIHOODS, Chamfer, Mixture
from tests.references import chamfer_matrix


def test_mixture_is_torchs_mixture():
    centres, x = torch.randn(2, 5, 3), torch.randn(2, 40, 3)
    components = Independent(Normal(centres[:, None], 0.3), 1)
    slow = MixtureSameFamily(Categorical(torch.ones(5)), components.expand((2, 40, 5))).log_prob(x).sum(-1)
    torch.testing.assert_close(Mixture(centres, 0.3).log_prob(x), slow)


def test_mixture_density_of_a_point_integrates_to_one():
    axis = torch.linspace(-4, 4, 60)
    grid = torch.cartesian_prod(axis, axis, axis)[:, None]
    likelihood = Mixture(torch.randn(1, 6, 3).clamp(-2, 2).expand(len(grid), -1, -1), 0.4)
    mass = likelihood.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 3
    assert mass.item() == pytest.approx(1, abs=1e-3)


def test_chamfer_is_the_hard_assignment_limit_of_the_mixture():
    """With a vanishing scale each point belongs to its nearest centre: its density is that Gaussian's over M."""
    centres = torch.randn(3, 20, 3)
    x = (centres + 0.002 * torch.randn_like(centres))[:, torch.randperm(20)]
    scale = 0.005
    soft = Mixture(centres, scale).log_prob(x) + 20 * math.log(20)
    hard = Chamfer(centres, scale).log_prob(x)  # near the centres both directions match the same pairs
    torch.testing.assert_close(soft, hard, rtol=1e-4, atol=1e-2)
    assert (Mixture(centres, 1.0).log_prob(x) + 20 * math.log(20) > Chamfer(centres, 1.0).log_prob(x) + 1).all()


def test_chamfer_is_the_scaled_chamfer_distance():
    centres, x = torch.randn(2, 9, 3), torch.randn(2, 12, 3)
    expected = -12 * chamfer_matrix(x, centres) / (4 * 0.5**2) - 36 * math.log(0.5 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(Chamfer(centres, 0.5).log_prob(x).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("likelihood", [Chamfer, Mixture])
def test_laws_of_every_likelihood(likelihood):
    centres, x = torch.randn(4, 3, 9, 3), torch.randn(3, 12, 3)
    log_prob = likelihood(centres, 0.5).log_prob(x)
    assert log_prob.shape == (4, 3)
    torch.testing.assert_close(log_prob[2, 1:2], likelihood(centres[2, 1:2], 0.5).log_prob(x[1:2]))
    torch.testing.assert_close(log_prob, likelihood(centres, 0.5).log_prob(x[:, torch.randperm(12)]))
    mask = torch.rand(3, 12) < 0.5
    mask[:, 0] = True
    padded = likelihood(centres[0], 0.5).log_prob(Ragged(x, mask))
    alone = [likelihood(centres[0, i : i + 1], 0.5).log_prob(x[i][mask[i]][None]) for i in range(3)]
    torch.testing.assert_close(padded, torch.cat(alone))
    assert torch.equal(likelihood(centres, 0.5).mean, centres)


@pytest.mark.parametrize("likelihood", [Chamfer, Mixture])
def test_the_best_scale_is_the_residual(likelihood):
    """Learnt by gradient, the scale comes to the deviation of points around their centres: it is calibrated."""
    centres = 10 * torch.rand(8, 50, 3)
    x = centres + 0.1 * torch.randn_like(centres)
    scale = torch.tensor(0.4, requires_grad=True)
    optimiser = torch.optim.Adam([scale], 0.01)
    for _ in range(200):
        optimiser.zero_grad()
        (-likelihood(centres, scale).log_prob(x).mean()).backward()
        optimiser.step()
    assert scale.item() == pytest.approx(0.1, rel=0.1)


def test_mixture_samples_follow_its_density():
    likelihood = Mixture(torch.tensor([[[0.0, 0, 0], [3, 0, 0]]]).expand(1, 2, 3), 0.2)
    x = likelihood.sample(torch.Size([20_000])).flatten(0, 2)
    assert x[:, 0].mean().item() == pytest.approx(1.5, abs=0.05)
    assert x[:, 1].std().item() == pytest.approx(0.2, rel=0.03)


def test_mixture_in_pieces_has_the_gradient_of_the_whole(monkeypatch):
    gradients = []
    for pairs in (2**22, 64):
        monkeypatch.setattr(likelihoods, "PAIRS_AT_ONCE", pairs)
        torch.manual_seed(0)
        centres, x = torch.randn(2, 9, 3, requires_grad=True), torch.randn(2, 12, 3)
        gradients.append(torch.autograd.grad(Mixture(centres, 0.5).log_prob(x).sum(), centres)[0])
    torch.testing.assert_close(*gradients)


def log_kernel_sums(x, centres, scale):
    """sum_n log 1/M sum_m exp( -|x_n - c_m|^2 / 2 s^2 ) in double precision, from the whole matrix."""
    squared = (x.double()[:, :, None] - centres.double()[:, None]).square().sum(-1)
    return (torch.logsumexp(-squared / (2 * scale**2), -1) - math.log(centres.shape[1])).sum(-1)


def surfaces(shapes, size, seed):
    """Points of the unit sphere: a cloud as a decoder sees it."""
    points = torch.randn(shapes, size, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(points, dim=-1)


@pytest.mark.parametrize("scale", [0.005, 0.03, 0.5, 20.0])
@pytest.mark.parametrize("away", [0.0, 2.0])
def test_mixture_is_exact_at_every_scale_with_and_without_a_gradient(scale, away):
    """Within 1e-4 nats per point of double precision, or what single precision leaves of far larger numbers."""
    centres, x = surfaces(3, 120, 0), surfaces(3, 90, 1) + away
    expected = log_kernel_sums(x, centres, scale) / 90 - 3 * math.log(scale * math.sqrt(2 * math.pi))
    for differentiated in (False, True):
        found = Mixture(centres.requires_grad_(differentiated), scale).log_prob(x)
        assert found.requires_grad == differentiated
        torch.testing.assert_close(found.detach().double() / 90, expected, atol=1e-4, rtol=1e-6)


def test_mixture_keeps_the_precision_and_the_broken_numbers_that_it_is_given():
    centres, x = surfaces(2, 30, 0).double(), surfaces(2, 20, 1).double()
    with torch.no_grad():
        found = Mixture(centres, 0.1).log_prob(x)
        centres[1, 4, 0] = math.nan
        broken = Mixture(centres, 0.1).log_prob(x)
    expected = log_kernel_sums(x, surfaces(2, 30, 0), 0.1) - 60 * math.log(0.1 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)
    assert broken[0] == found[0] and broken[1].isnan()


@pytest.mark.parametrize("numbers", [8 * 9 * 5, 8 * 9 * 30, 1])
def test_mixture_without_a_gradient_checkpoints_nothing_and_works_block_by_block(monkeypatch, numbers):
    """Blocks are a part of a cloud, several whole clouds, or one point."""
    centres, x = torch.randn(4, 3, 9, 3), torch.randn(3, 12, 3)
    with torch.no_grad():
        whole = Mixture(centres, 0.5).log_prob(x)
        monkeypatch.setitem(batch.NUMBERS_A_BLOCK, "cpu", numbers)
        monkeypatch.setattr(likelihoods, "checkpoint", None)
        torch.testing.assert_close(Mixture(centres, 0.5).log_prob(x), whole)


def test_the_mixture_alone_calls_itself_normalised():
    """Its integral stands above; the same integral of the energy is another number."""
    assert {name: kind.normalised for name, kind in LIKELIHOODS.items()} == {"chamfer": False, "mixture": True}
    axis = torch.linspace(-4, 4, 60)
    grid = torch.cartesian_prod(axis, axis, axis)[:, None]
    centres = torch.tensor([[[-1.0, 0, 0], [1, 0, 0]]]).expand(len(grid), -1, -1)
    mass = Chamfer(centres, 0.4).log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 3
    assert abs(mass.item() - 1) > 0.1


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values())
@pytest.mark.parametrize("trained", [False, True])
def test_of_no_clouds_there_are_no_likelihoods(likelihood, trained):
    centres = torch.zeros(0, 5, 3, requires_grad=trained)
    assert likelihood(centres, 0.3).log_prob(torch.zeros(0, 40, 3)).shape == (0,)
