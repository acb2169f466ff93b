"""Distributions over codes, against torch's own and against Monte Carlo."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from crvae3d.core.posteriors import DiagonalGaussian, kl_per_coordinate, standard_normal, wasserstein2


def gaussian(*shape: int) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(*shape), 0.5 * torch.randn(*shape))


def as_torch(q: DiagonalGaussian) -> Independent:
    return Independent(Normal(q.mean, q.stddev), 1)


def test_deviation_is_exp_of_half_the_log_variance():
    q = DiagonalGaussian(torch.zeros(1), torch.tensor([2.0]))
    samples = q.rsample(torch.Size([200_000]))
    assert q.stddev.item() == pytest.approx(2.718281828, rel=1e-6)
    assert samples.std().item() == pytest.approx(2.718281828, rel=0.01)


def test_agrees_with_torch():
    p, q, x = gaussian(4, 3), gaussian(4, 3), torch.randn(5, 4, 3)
    torch.testing.assert_close(p.log_prob(x), as_torch(p).log_prob(x))
    torch.testing.assert_close(p.entropy(), as_torch(p).entropy())
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(as_torch(p), as_torch(q)))
    torch.testing.assert_close(kl_per_coordinate(p, q).sum(-1), kl_divergence(p, q))


def test_kl_matches_monte_carlo():
    p, q = gaussian(3, 4), gaussian(3, 4)
    x = p.sample(torch.Size([200_000]))
    estimate = p.log_prob(x) - q.log_prob(x)
    error = estimate.std(0) / 200_000**0.5
    assert ((estimate.mean(0) - kl_divergence(p, q)).abs() < 5 * error).all()


def test_kl_to_the_prior_of_a_smaller_batch_broadcasts():
    q = gaussian(6, 4)
    assert kl_divergence(q, standard_normal(4)).shape == (6,)
    assert (kl_divergence(q, standard_normal(4)) > 0).all()


def test_wasserstein_is_the_cost_of_the_optimal_map():
    p, q = gaussian(2, 3), gaussian(2, 3)
    noise = torch.randn(400_000, 2, 3)
    moved = (p.mean + p.stddev * noise - q.mean - q.stddev * noise).square().sum(-1).mean(0)
    torch.testing.assert_close(wasserstein2(p, q), moved, rtol=0.01, atol=0.01)


def test_sampling_is_reparametrised():
    mean = torch.zeros(2, requires_grad=True)
    DiagonalGaussian(mean, torch.zeros(2)).rsample(torch.Size([7])).sum().backward()
    assert mean.grad.tolist() == [7.0, 7.0]
    assert not DiagonalGaussian(mean, torch.zeros(2)).detach().mean.requires_grad
