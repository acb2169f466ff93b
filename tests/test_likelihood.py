"""The log-likelihood by importance sampling, on a model whose evidence and posterior are known exactly.

z ~ N(0, I) is the place of a shape, and its N points lie around it: x_n = z + s e_n, a mixture of one Gaussian.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from crvae3d.core.model import VAE
from crvae3d.core.posteriors import DiagonalGaussian, standard_normal
from crvae3d.errors import InputError
from crvae3d.evaluation.likelihood import effective_sample_size, log_likelihood
from crvae3d.points.likelihoods import Chamfer, FoldedPoints, Mixture
from crvae3d.points.models import PointModel

DEVIATION, POINTS = 0.5, 6
PRECISION = 1 + POINTS / DEVIATION**2


class Place(nn.Module):
    """The exact posterior, or one that is `shift` beside it and wider by `widen` in its log variance."""

    def __init__(self, shift: float = 0.0, widen: float = 0.0) -> None:
        super().__init__()
        self.shift, self.widen, self.drop = shift, widen, nn.Dropout(0.5)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = self.drop(x.sum(1) / DEVIATION**2 / PRECISION + self.shift)
        return DiagonalGaussian(mean, torch.tensor(self.widen - np.log(PRECISION), dtype=torch.float32))


class Around(nn.Module):
    """One centre, at the code; it remembers how many codes came at once."""

    def __init__(self, likelihood: type[FoldedPoints] = Mixture) -> None:
        super().__init__()
        self.likelihood, self.most = likelihood, 0

    def forward(self, codes: Tensor) -> FoldedPoints:
        self.most = max(self.most, codes.shape[:-1].numel())
        return self.likelihood(codes[..., None, :], DEVIATION)


def model_of(likelihood: type[FoldedPoints] = Mixture, **posterior: float) -> VAE:
    return VAE(Place(**posterior), Around(likelihood), standard_normal(3))


def evidence(x: Tensor) -> np.ndarray:
    """log p(x): each axis of a cloud is one Gaussian vector of covariance s^2 I + 1."""
    covariance = DEVIATION**2 * torch.eye(POINTS, dtype=torch.float64) + 1
    return MultivariateNormal(torch.zeros(POINTS).double(), covariance).log_prob(x.double().mT).sum(-1).numpy()


@pytest.fixture
def clouds() -> Tensor:
    return torch.randn(12, 1, 3) + DEVIATION * torch.randn(12, POINTS, 3)


def test_at_the_exact_posterior_every_sample_gives_the_evidence(clouds):
    found = log_likelihood(model_of(), clouds, samples=(1, 7, 50), progress=False)
    for bound in found.bounds.values():
        np.testing.assert_allclose(bound, evidence(clouds), atol=1e-4)
    np.testing.assert_allclose(found.effective, 50, rtol=1e-6)


def test_at_a_wrong_posterior_the_bound_rises_from_the_elbo_to_the_evidence(clouds):
    model = model_of(shift=0.1, widen=0.5)
    found = log_likelihood(model, clouds, samples=(1, 10, 100, 2000), progress=False)
    bounds = np.stack(list(found.bounds.values()))
    assert (np.diff(bounds, axis=0) >= 0).all()  # each number of samples divides the next: no shape's bound falls
    exact = evidence(clouds)
    gap = kl_divergence(model.eval().encoder(clouds), model_of().eval().encoder(clouds)).numpy()
    assert gap.min() > 0.1
    np.testing.assert_allclose(bounds[0], exact - gap, atol=0.1)  # log p(x) - KL( q || p(z|x) ), which is the ELBO
    np.testing.assert_allclose(bounds[-1], exact, atol=0.1)
    assert abs(bounds[-1].mean() - exact.mean()) < 0.02 < bounds[-1].mean() - bounds[0].mean()
    assert 100 < found.effective_samples < 1900


def test_a_posterior_far_from_the_exact_one_is_told_by_its_effective_sample_size(clouds):
    found = log_likelihood(model_of(shift=2.0), clouds, samples=(100,), progress=False)
    assert found.effective_samples < 3 and found.per_shape[100] < evidence(clouds).mean() - 1


def test_effective_sample_size_counts_equal_weights():
    weights = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [3, 1, 0, 0]]).double()
    for scale in (0.0, 900.0):  # weights themselves would overflow
        sizes = effective_sample_size(weights.log() + scale)
        torch.testing.assert_close(sizes, torch.tensor([4, 2, 1.6]).double())


def test_samples_depend_on_the_seed_and_the_place_alone(clouds):
    def ask(x: object = clouds, **how: int) -> np.ndarray:
        return log_likelihood(model_of(widen=1.0), x, (5, 30), progress=False, **how).bounds[5]

    torch.manual_seed(77)
    state = torch.get_rng_state()
    first = ask()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(78)
    np.testing.assert_array_equal(ask(), first)
    np.testing.assert_allclose(ask(batch_size=7), first, atol=1e-4)
    np.testing.assert_allclose(ask(clouds[:3]), first[:3], atol=1e-4)
    assert np.abs(ask(seed=1) - first).min() > 1e-3
    same = ask(clouds[:1].expand(4, -1, -1))
    assert len(set(same.round(4))) == 4  # each place has samples of its own


def test_no_more_than_a_batch_is_decoded_at_once(clouds):
    model = model_of()
    log_likelihood(model, clouds, samples=(40,), batch_size=16, progress=False)
    assert model.decoder.most == 16


def test_units_are_nats_per_shape_and_per_point(clouds):
    found = log_likelihood(model_of(), clouds, samples=(3,), progress=False)
    assert found.per_shape[3] == pytest.approx(evidence(clouds).mean(), abs=1e-4)
    assert found.per_point[3] == pytest.approx(evidence(clouds).mean() / POINTS, abs=1e-4)
    assert (found.points == POINTS).all() and found.bounds[3].shape == found.effective.shape == (12,)


def test_the_model_is_held_still_and_any_density_will_do(clouds):
    """torch's own distributions do not say that they are normalised, and are."""
    model = model_of().train()
    model.decoder.forward = lambda codes: Independent(Normal(codes[..., None, :], DEVIATION), 2).expand(
        codes.shape[:-1]
    )
    found = log_likelihood(model, clouds, samples=(4,), progress=False)
    np.testing.assert_allclose(found.bounds[4], evidence(clouds), atol=1e-4)  # dropout would have moved it
    assert model.encoder.drop.training and torch.is_grad_enabled()


def test_a_folding_model_of_many_dimensions_is_bounded_too():
    model = PointModel(16, (8, 16), (16,), output_points=20, decoder_width=8, likelihood="mixture", scale=0.3).build()
    x = torch.nn.functional.normalize(torch.randn(3, 30, 3), dim=-1)
    found = log_likelihood(model, x, samples=(1, 20), progress=False)
    with torch.no_grad():
        posterior = model.encoder(x)
        distortion = -model.decoder(posterior.rsample(torch.Size([500]))).log_prob(x).mean(0)
        elbo = -(distortion + kl_divergence(posterior, model.prior)).mean().item()
    assert found.per_shape[1] == pytest.approx(elbo, abs=3)
    assert found.per_shape[20] > found.per_shape[1] + 1 and 1 <= found.effective_samples < 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(model=model_of(Chamfer)), "Chamfer is an energy.*--model folding-mixture"),
        (dict(samples=()), "1 or more"),
        (dict(samples=(10, 0)), "1 or more"),
        (dict(batch_size=0), "1 or more"),
        (dict(clouds=torch.zeros(0, POINTS, 3)), "empty set"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_advice(clouds, arguments, says):
    with pytest.raises(InputError, match=says):
        log_likelihood(**{"model": model_of(), "clouds": clouds, "progress": False, **arguments})
