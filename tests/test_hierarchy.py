"""Distributions in groups, on a linear-Gaussian model of two groups where everything is known: z ~ N(m, S), x = W z + s e."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from crvae3d.core.consistency import Consistent
from crvae3d.core.divergences import DIVERGENCES
from crvae3d.core.hierarchy import Chain, Path, Walk, balanced, follow, kl_groups
from crvae3d.core.model import VAE
from crvae3d.core.objectives import ELBO, IWAE, Autoencoder
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError

DEVIATION = 0.7
MANY = 100_000


class Parents(Walk):
    """The state is the parents themselves, side by side."""

    sizes = (1, 1)

    def start(self, count):
        return torch.zeros(count, 0, dtype=torch.float64)

    def advance(self, level, state, group):
        return torch.cat([state, group], dim=-1)


WALK = Parents()


def chain_of(mean: torch.Tensor, covariance: torch.Tensor) -> Chain:
    """The chain whose joint distribution is N(mean, covariance), means (..., 2): condition the second on the first."""
    means = mean.reshape(-1, 2)
    slope = covariance[1, 0] / covariance[0, 0]
    variances = torch.stack([covariance[0, 0], covariance[1, 1] - slope * covariance[1, 0]])

    def conditional(level, state):
        own = means.repeat(len(state) // len(means), 1)
        centre = own[:, :1] if level == 0 else own[:, 1:] + slope * (state - own[:, :1])
        return DiagonalGaussian(centre, variances[level].log())

    return Chain(WALK, conditional, mean.shape[:-1])


def covariance_of(seed: int) -> torch.Tensor:
    root = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.T + 0.3 * torch.eye(2)


def pair(batch: int = 4):
    """Two chains and the same two as torch has them."""
    means = torch.randn(2, batch, 2, dtype=torch.float64)
    covariances = covariance_of(1), covariance_of(2)
    chains = [chain_of(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    joint = [MultivariateNormal(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    return chains, joint


class Exact(nn.Module):
    """Encoder and decoder of the linear-Gaussian model; the encoder gives the exact posterior, at first."""

    def __init__(self):
        super().__init__()
        self.loadings = torch.randn(3, 2, dtype=torch.float64)
        self.covariance = covariance_of(3)
        precision = self.covariance.inverse() + self.loadings.T @ self.loadings / DEVIATION**2
        self.posterior_covariance = precision.inverse()
        self.shift = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        mean = x @ self.loadings @ self.posterior_covariance / DEVIATION**2 + self.shift
        return chain_of(mean, self.posterior_covariance)

    def evidence(self, x):
        covariance = self.loadings @ self.covariance @ self.loadings.T + DEVIATION**2 * torch.eye(3)
        return MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(x)


class Decoder(nn.Module):
    def __init__(self, loadings):
        super().__init__()
        self.loadings = loadings

    def forward(self, codes):
        codes = codes.codes if isinstance(codes, Path) else codes
        return Independent(Normal(codes @ self.loadings.T, DEVIATION), 1)


def model() -> VAE:
    encoder = Exact()
    prior = chain_of(torch.zeros(2, dtype=torch.float64), encoder.covariance)
    return VAE(encoder, Decoder(encoder.loadings), prior)


@pytest.fixture
def x():
    return torch.randn(6, 3, dtype=torch.float64)


class TestChain:
    def test_log_density_is_that_of_the_joint_for_a_path_and_for_codes(self):
        (p, q), (joint, other) = pair()
        path = p.rsample(torch.Size([5]))
        assert path.codes.shape == (5, 4, 2) and path.batch_shape == (5, 4)
        for chain, expected in ((p, joint), (q, other)):
            torch.testing.assert_close(chain.log_prob(path), expected.log_prob(path.codes))
            torch.testing.assert_close(chain.log_prob(path.codes), expected.log_prob(path.codes))

    def test_samples_have_the_joints_moments(self):
        (p, _), (joint, _) = pair(3)
        codes = p.rsample(torch.Size([MANY])).codes
        torch.testing.assert_close(codes.mean(0), joint.mean, atol=0.03, rtol=0)
        for i in range(3):
            torch.testing.assert_close(codes[:, i].T.cov(), joint.covariance_matrix[i], rtol=0.03, atol=0.03)

    def test_a_density_that_is_not_gaussian_integrates_to_one(self):
        def conditional(level, state):
            centre = torch.zeros(len(state), 1, dtype=torch.float64) if level == 0 else (3 * state).sin()
            return DiagonalGaussian(centre, -1 + centre)

        axis = torch.linspace(-7, 7, 701, dtype=torch.float64)
        density = Chain(WALK, conditional).log_prob(torch.cartesian_prod(axis, axis)).exp()
        assert (density.sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-6)

    def test_mean_is_along_the_means_and_the_deviation_is_that_of_each_conditional_there(self):
        (p, _), (joint, _) = pair()
        torch.testing.assert_close(p.mean, joint.mean)
        last = joint.covariance_matrix.inverse()[:, 1, 1].rsqrt()
        expected = torch.stack([joint.covariance_matrix[:, 0, 0].sqrt(), last], dim=-1)
        torch.testing.assert_close(p.stddev, expected)
        torch.testing.assert_close(p.variance, expected**2)
        prior = chain_of(torch.zeros(2, dtype=torch.float64), covariance_of(3))
        assert prior.mean.shape == prior.event_shape == (2,) and prior.batch_shape == ()

    def test_sampling_is_reparametrised_through_the_parents(self):
        shift = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
        codes = chain_of(shift, covariance_of(1)).rsample(torch.Size([7])).codes
        codes.sum().backward()
        torch.testing.assert_close(shift.grad, torch.full_like(shift, 7))

    def test_detach_would_cut_what_the_other_path_brings_and_is_refused(self):
        with pytest.raises(InputError, match="leave stop_gradient out"):
            chain_of(torch.zeros(2, 2, dtype=torch.float64), covariance_of(1)).detach()

    def test_a_path_without_gradients_is_never_taken_where_they_are_wanted(self):
        shift = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
        p = chain_of(shift, covariance_of(1))
        with torch.no_grad():
            p.rsample(), p.mean  # noqa: B018
        assert p.mean.requires_grad and p.drawn().codes.requires_grad


class TestDivergence:
    def test_chain_rule_at_the_same_parents_is_the_divergence_of_the_joints(self):
        (p, q), (joint, other) = pair()
        p.rsample(torch.Size([MANY]))
        torch.testing.assert_close(kl_divergence(p, q), kl_divergence(joint, other), rtol=0.03, atol=0.03)

    def test_on_paths_of_their_own_it_would_be_another_number(self):
        """What is avoided: each conditional at parents that its own distribution drew. The groups are correlated by 0.9."""
        covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
        means = torch.zeros(1, 2, dtype=torch.float64), torch.full((1, 2), 3.0, dtype=torch.float64)
        p, q = (chain_of(mean, covariance) for mean in means)
        expected = kl_divergence(*(MultivariateNormal(mean, covariance) for mean in means))
        own = p.conditionals(p.rsample(torch.Size([MANY]))), q.conditionals(q.rsample(torch.Size([MANY])))
        wrong = sum(kl_divergence(*both).mean() for both in zip(*own, strict=True))
        torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-6, atol=0)
        assert wrong > 6 * expected

    def test_is_nought_of_a_distribution_and_itself(self):
        (p, q), _ = pair()
        assert (kl_divergence(p, p) == 0).all() and (kl_divergence(p, q) > 0).all()
        again = Chain(WALK, p.conditional, p.batch_shape)
        assert (kl_groups(p, again) == 0).all()

    def test_stands_on_the_path_that_was_drawn_last(self):
        (p, q), _ = pair()
        drawn = []
        for _ in range(2):
            path = p.rsample()
            pairs = zip(p.conditionals(path), q.conditionals(path), strict=True)
            expected = torch.stack([kl_divergence(*both) for both in pairs])
            assert torch.equal(kl_groups(p, q), expected) and torch.equal(kl_divergence(p, q), expected.sum(0))
            drawn.append(expected)
        assert torch.equal(drawn[0][0], drawn[1][0]) and not torch.equal(drawn[0][1], drawn[1][1])

    def test_averages_over_all_samples_that_were_drawn(self):
        (p, q), _ = pair()
        path = p.rsample(torch.Size([3]))
        single = []
        for i in range(3):
            alone = follow(WALK, path.codes[i])
            pairs = zip(p.conditionals(alone), q.conditionals(alone), strict=True)
            single.append(torch.stack([kl_divergence(*both) for both in pairs]))
        torch.testing.assert_close(kl_groups(p, q), torch.stack(single).mean(0))

    def test_a_distribution_of_no_batch_keeps_no_path(self):
        """A prior lives on while the weights beneath it change."""
        prior = chain_of(torch.zeros(2, dtype=torch.float64), covariance_of(3))
        path = prior.rsample(torch.Size([4]))
        assert path.codes.shape == (4, 2) and prior.drawn() is not path
        assert kl_groups(prior, prior).shape == (2,)

    def test_to_a_prior_broadcasts(self):
        (p, _), (joint, _) = pair()
        prior = chain_of(torch.zeros(2, dtype=torch.float64), covariance_of(3))
        p.rsample(torch.Size([MANY]))
        expected = kl_divergence(joint, MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance_of(3)))
        torch.testing.assert_close(kl_divergence(p, prior), expected, rtol=0.03, atol=0.03)

    def test_a_group_without_a_closed_form_takes_the_log_ratio_of_its_path(self):
        centre = torch.zeros(1, 1, dtype=torch.float64)
        p = Chain(WALK, lambda level, state: Independent(Laplace(centre.expand(len(state), 1), 0.5), 1), (1,))
        q = Chain(WALK, lambda level, state: DiagonalGaussian(centre.expand(len(state), 1), centre), (1,))
        p.rsample(torch.Size([MANY]))
        expected = kl_divergence(Laplace(0.0, 0.5), Normal(0.0, 1.0)).double()
        torch.testing.assert_close(kl_groups(p, q), expected.expand(2, 1), rtol=0.03, atol=0)

    def test_two_plain_distributions_are_one_group(self):
        p, q = DiagonalGaussian(torch.randn(4, 3), torch.zeros(3)), DiagonalGaussian(torch.zeros(3), torch.zeros(3))
        assert torch.equal(kl_groups(p, q), kl_divergence(p, q)[None])


class TestBounds:
    @pytest.mark.parametrize("samples", [1, 3, 50])
    def test_iwae_at_the_exact_posterior_is_the_evidence_whatever_the_sample(self, x, samples):
        vae = model()
        torch.testing.assert_close(IWAE(samples)(vae, x).named["bound"], vae.encoder.evidence(x))

    def test_elbo_at_the_exact_posterior_is_the_evidence(self, x):
        vae = model()
        terms = ELBO()(vae, x.repeat(20_000, 1))
        bound = -terms.per_shape.reshape(20_000, 6).mean(0)
        torch.testing.assert_close(bound, vae.encoder.evidence(x), atol=0.1, rtol=0)

    @pytest.mark.parametrize("divergence", sorted(DIVERGENCES.keys() - {"wasserstein"}))  # that of two Gaussians alone
    @pytest.mark.parametrize("objective", [ELBO(), IWAE(3), IWAE(3, "one"), Autoencoder()], ids=repr)
    def test_every_bound_and_divergence_takes_it_unchanged(self, x, objective, divergence):
        vae = model()
        consistent = Consistent(objective, 1.0, lambda x, generator: 1.5 * x, divergence=divergence)
        terms = consistent(vae, x)
        assert terms.per_shape.shape == terms.named["consistency"].shape == (6,)
        terms.loss.backward()
        assert vae.encoder.shift.grad.isfinite().all() and (vae.encoder.shift.grad != 0).all()

    def test_consistency_of_a_view_that_is_the_original_is_nought(self, x):
        terms = Consistent(ELBO(), 1.0, lambda x, generator: x)(model(), x)
        assert (terms.named["consistency"] == 0).all()

    def test_consistency_is_the_divergence_of_the_joint_posteriors(self, x):
        vae = model()
        many = x[:1].repeat(MANY, 1)
        found = Consistent(ELBO(), 1.0, lambda x, generator: 1.5 * x)(vae, many).named["consistency"].mean()
        mean, covariance = vae.encoder(x[:1]).mean[0], vae.encoder.posterior_covariance
        expected = kl_divergence(MultivariateNormal(1.5 * mean, covariance), MultivariateNormal(mean, covariance))
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


class TestBalance:
    def test_weights_follow_the_divergence_of_each_number_and_have_mean_one(self):
        groups = torch.rand(3, 5) + 0.1
        expected = groups.mean(1) / torch.tensor([1.0, 2.0, 4.0])
        weights = expected / expected.mean()
        torch.testing.assert_close(balanced(groups, (1, 2, 4)), (weights[:, None] * groups).sum(0))

    def test_weights_carry_no_gradient(self):
        groups = torch.rand(3, 5, requires_grad=True)
        balanced(groups, (2, 2, 2)).sum().backward()
        weights = groups.detach().mean(1) / groups.detach().mean()
        torch.testing.assert_close(groups.grad, weights[:, None].expand(3, 5))

    def test_is_the_plain_sum_where_every_number_says_as_much(self):
        sizes = torch.tensor([16.0, 64.0, 256.0])
        groups = 0.3 * sizes[:, None].expand(3, 5)
        torch.testing.assert_close(balanced(groups, sizes.tolist()), groups.sum(0))

    def test_is_the_plain_sum_of_equal_groups_of_one_group_and_of_none_that_says_anything(self):
        for groups in (torch.full((3, 2), 0.7), torch.rand(1, 4), torch.zeros(2, 3)):
            torch.testing.assert_close(balanced(groups, (3,) * len(groups)), groups.sum(0))


def test_what_cannot_be_compared_is_refused_with_advice():
    (p, _), _ = pair()
    (small, _), _ = pair(3)
    other = Chain(Parents(), p.conditional, p.batch_shape)
    with pytest.raises(InputError, match="one shared walk"):
        kl_divergence(p, other)
    with pytest.raises(InputError, match="batch shape"):
        p.log_prob(small.rsample())
    with pytest.raises(InputError, match="have 2 numbers"):
        p.log_prob(torch.zeros(4, 3))
    with pytest.raises(TypeError, match="write `start`"):
        Walk().start(1)
