"""Bounds on a linear-Gaussian model, whose evidence and posterior are known exactly: z ~ N(0, I), x = A z + s e."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from crvae3d.core.consistency import Consistent
from crvae3d.core.contrastive import nt_xent
from crvae3d.core.model import VAE
from crvae3d.core.objectives import ELBO, IWAE, Autoencoder, EncoderOnly
from crvae3d.core.posteriors import DiagonalGaussian, held, standard_normal
from crvae3d.core.schedules import CoolDown, WarmUp, ever, final, value_at
from crvae3d.errors import InputError

DEVIATION = 0.7


class LinearGaussian(nn.Module):
    """Columns of A are orthogonal, so that the exact posterior has independent coordinates."""

    def __init__(self, widen: float = 0.0) -> None:
        super().__init__()
        self.loadings = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.5])
        self.precision = 1 + self.loadings.square().sum(0) / DEVIATION**2
        self.widen = widen
        self.shift = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        mean = x @ self.loadings / DEVIATION**2 / self.precision + self.shift
        return DiagonalGaussian(mean, (-self.precision.log() + self.widen).expand_as(mean))

    def decode(self, z):
        return Independent(Normal(z @ self.loadings.T, DEVIATION), 1)

    def evidence(self, x):
        covariance = self.loadings @ self.loadings.T + DEVIATION**2 * torch.eye(5)
        return MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(x)


class Decoder(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.decode = encoder.decode

    def forward(self, z):
        return self.decode(z)


def model_of(encoder) -> VAE:
    prior = DiagonalGaussian(torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    return VAE(encoder, Decoder(encoder), prior)


@pytest.fixture
def x():
    return torch.randn(8, 5, dtype=torch.float64)


def drawn(objective, encoder, x, repeats):
    """The bound of each of x, drawn so often: (repeats, B)."""
    terms = objective(model_of(encoder), x.repeat(repeats, 1))
    return -terms.per_shape.detach().unflatten(0, (repeats, len(x)))


def test_elbo_at_the_exact_posterior_is_the_evidence(x):
    encoder = LinearGaussian()
    bound = drawn(ELBO(), encoder, x, 4000).mean(0)
    torch.testing.assert_close(bound, encoder.evidence(x), atol=0.1, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 5, 50])
def test_iwae_at_the_exact_posterior_is_the_evidence_whatever_the_sample(x, samples):
    encoder = LinearGaussian()
    terms = IWAE(samples)(model_of(encoder), x)
    torch.testing.assert_close(terms.named["bound"], encoder.evidence(x))


def test_iwae_tightens_with_samples_and_never_passes_the_evidence(x):
    encoder = LinearGaussian(widen=1.0)
    bounds = [drawn(IWAE(k), encoder, x, 3000).mean() for k in (1, 5, 50)]
    assert bounds[0] < bounds[1] < bounds[2] < encoder.evidence(x).mean() + 0.01


def gradient_of(objective, x, repeats=40_000):
    """The mean over draws of the gradient that shifts the posterior's mean at the first row of x, and its error."""
    torch.manual_seed(4)
    encoder = LinearGaussian(widen=0.7)
    encoder.shift = nn.Parameter(torch.full((repeats, 2), 0.5, dtype=torch.float64))
    objective(model_of(encoder), x[:1].expand(repeats, 5)).per_shape.sum().backward()
    return encoder.shift.grad.mean(0), encoder.shift.grad.std(0) / repeats**0.5


def test_iwae_through_one_sample_has_the_gradient_of_all_in_the_mean(x):
    (whole, error), (one, error_of_one), (elbo, _) = (
        gradient_of(objective, x) for objective in (IWAE(4), IWAE(4, "one"), ELBO())
    )
    noise = (error**2 + error_of_one**2).sqrt()
    assert ((whole - one).abs() < 4 * noise).all()
    assert ((whole - elbo).abs() > 20 * noise).all()  # it is another gradient than that of a plain sample


def test_iwae_through_one_sample_has_the_same_bound_and_tells_it(x):
    terms = []
    for gradient in ("all", "one"):
        torch.manual_seed(2)
        terms.append(IWAE(7, gradient)(model_of(LinearGaussian(widen=0.7)), x))
    torch.testing.assert_close(terms[0].per_shape, terms[1].per_shape)
    assert terms[1].per_shape.requires_grad and not terms[1].named["bound"].requires_grad


def test_iwae_decodes_all_samples_without_a_gradient_and_one_with_it(x):
    model, decoded = model_of(LinearGaussian(widen=0.7)), []
    model.decoder.register_forward_hook(
        lambda _, codes, out: decoded.append((codes[0].shape[:-1], torch.is_grad_enabled()))
    )
    IWAE(6, "one")(model, x)
    assert decoded == [((6, 8), False), ((8,), True)]


def test_iwae_through_one_sample_tells_a_loss_that_is_not_finite(x):
    x[1, 0] = torch.nan
    model = model_of(LinearGaussian(widen=0.7))
    loadings = model.encoder.loadings
    model.decoder.decode = lambda z: Independent(Normal(z @ loadings.T, DEVIATION, validate_args=False), 1, False)
    terms = IWAE(6, "one")(model, x)
    assert terms.per_shape.isnan().tolist() == [False, True, *[False] * 6]


def test_iwae_refuses_another_gradient():
    with pytest.raises(InputError, match="all, one"):
        IWAE(5, "some")


def test_beta_weighs_the_rate_alone(x):
    model = model_of(LinearGaussian())
    torch.manual_seed(3)
    one = ELBO(1.0)(model, x)
    torch.manual_seed(3)
    four = ELBO(4.0)(model, x)
    torch.testing.assert_close(four.per_shape - one.per_shape, 3 * one.named["rate"])
    assert one.loss == one.per_shape.mean()


def shifted(x, generator=None):
    return x + 0.5


def test_consistent_with_no_view_and_no_weight_is_the_plain_objective_bit_for_bit(x):
    results = []
    for objective in (ELBO(0.3), Consistent(ELBO(0.3), weight=0.0, transform=shifted, views=0)):
        torch.manual_seed(5)
        encoder = LinearGaussian()
        model = model_of(encoder)
        terms = objective(model, x)
        terms.loss.backward()
        results.append((terms.loss, encoder.shift.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("divergence", ["kl", "reverse", "symmetric", "wasserstein"])
def test_consistent_adds_the_views_bound_and_the_weighted_divergence(x, divergence):
    model = model_of(LinearGaussian(widen=0.3))
    terms = Consistent(ELBO(), 2.5, shifted, divergence=divergence)(model, x)
    p, q = model.encoder(x + 0.5), model.encoder(x)
    apart = (p.mean - q.mean).square()
    variance = 1 if divergence == "wasserstein" else 2 * q.variance  # equal covariances: KL is the Mahalanobis distance
    torch.testing.assert_close(terms.named["consistency"], (apart / variance).sum(-1))
    named = terms.named
    total = named["distortion"] + named["rate"] + named["view_distortion"] + named["view_rate"]
    torch.testing.assert_close(terms.per_shape, total + 2.5 * named["consistency"])


def test_the_views_terms_are_the_views_own(x):
    model = model_of(LinearGaussian())
    named = Consistent(ELBO(), 0.0, shifted)(model, x).named
    torch.testing.assert_close(named["view_rate"], ELBO()(model, x + 0.5).named["rate"])
    assert not torch.allclose(named["view_rate"], named["rate"])


def test_target_original_judges_the_view_by_the_shape_it_was_made_of(x):
    model = model_of(LinearGaussian())
    torch.manual_seed(1)
    named = Consistent(ELBO(), 0.0, shifted, target="original")(model, x).named
    torch.manual_seed(1)
    model.encoder(x).rsample()
    expected = -model.decoder(model.encoder(x + 0.5).rsample()).log_prob(x)
    torch.testing.assert_close(named["view_distortion"], expected)


@pytest.mark.parametrize("objective", [ELBO(), IWAE(1), IWAE(3), IWAE(3, "one"), Autoencoder()], ids=repr)
def test_every_objective_may_judge_a_view_by_the_original(x, objective):
    """The likelihood of x, less that of the view at the same codes, is what the two terms differ by."""
    model, both = model_of(LinearGaussian()), {}
    for target in ("view", "original"):
        torch.manual_seed(1)
        both[target] = Consistent(objective, 0.0, shifted, target=target)(model, x).per_shape
    assert not torch.allclose(both["view"], both["original"])
    torch.manual_seed(1)
    alone = objective(model, x).per_shape
    view = objective(model, x + 0.5, target=x).per_shape  # goes on drawing where the first has stopped
    torch.testing.assert_close(both["original"], alone + view)


def test_stop_gradient_holds_the_originals_posterior_still(x):
    for stop in (False, True):
        encoder = LinearGaussian()
        named = Consistent(ELBO(), 1.0, shifted, stop_gradient=stop)(model_of(encoder), x).named
        gradient = torch.autograd.grad(named["consistency"].sum(), encoder.shift)[0]
        assert bool((gradient != 0).any()) == stop  # moving both posteriors alike changes nothing


@pytest.mark.parametrize("kind", ["independent", "multivariate"])
def test_stop_gradient_holds_any_distribution_still(kind):
    mean = torch.zeros(5, 3, requires_grad=True)
    posterior = Independent(Normal(mean, 1.0), 1) if kind == "independent" else MultivariateNormal(mean, torch.eye(3))
    still = held(posterior)
    assert kl_divergence(posterior, still).tolist() == [0.0] * 5
    assert posterior.mean.requires_grad and not still.mean.requires_grad and type(still) is type(posterior)


def test_views_are_averaged(x):
    model = model_of(LinearGaussian())
    one = Consistent(ELBO(), 1.0, shifted, views=1)(model, x).named
    three = Consistent(ELBO(), 1.0, shifted, views=3)(model, x).named
    torch.testing.assert_close(one["consistency"], three["consistency"])
    torch.testing.assert_close(one["view_rate"], three["view_rate"])


def test_each_of_several_views_is_made_anew_and_counts_alike(x):
    model, made = model_of(LinearGaussian()), []

    def further(x, generator):
        made.append(x + (0.1, 0.5, 2.0)[len(made)])
        return made[-1]

    named = Consistent(ELBO(), 1.0, further, views=3)(model, x).named
    assert len(made) == 3
    original = model.encoder(x)
    for name, value in (
        ("consistency", lambda view: kl_divergence(view, original)),
        ("view_rate", lambda view: kl_divergence(view, model.prior)),
    ):
        torch.testing.assert_close(named[name], sum(value(model.encoder(view)) for view in made) / 3)


def test_an_autoencoder_decodes_the_mean_and_pays_no_rate(x):
    model = model_of(LinearGaussian())
    terms = Autoencoder()(model, x)
    torch.testing.assert_close(terms.per_shape, -model.decoder(model.encoder(x).mean).log_prob(x))
    assert list(terms.named) == ["distortion"]


def test_without_a_bound_the_regulariser_alone_trains_the_encoder(x):
    encoder = LinearGaussian()
    terms = Consistent(EncoderOnly(), 2.0, shifted, divergence="nt-xent")(model_of(encoder), x)
    torch.testing.assert_close(terms.per_shape, 2 * terms.named["consistency"])
    assert list(terms.named) == ["consistency"]
    terms.loss.backward()
    assert encoder.shift.grad.abs().sum() > 0


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("contrast", [2.0, WarmUp(4.0, over=0.5)])
def test_contrast_is_weighed_beside_the_divergence(x, weight, contrast):
    model = model_of(LinearGaussian(widen=0.3))
    terms = Consistent(EncoderOnly(), weight, shifted, contrast=contrast)(model, x, progress=0.25)
    view, original = model.encoder(x + 0.5), model.encoder(x)
    torch.testing.assert_close(terms.named["consistency"], kl_divergence(view, original))
    torch.testing.assert_close(terms.named["contrast"], nt_xent(view.mean, original.mean))
    torch.testing.assert_close(terms.per_shape, weight * terms.named["consistency"] + 2 * terms.named["contrast"])
    assert "contrast" not in Consistent(EncoderOnly(), 1.0, shifted)(model, x).named


def test_contrast_may_compare_views_of_its_own_which_nothing_rebuilds(x):
    model, drawn = model_of(LinearGaussian()), []

    def farther(x, generator):
        drawn.append(torch.rand((), generator=generator))
        return x + 10 * len(drawn)

    plain = Consistent(ELBO(), 3.0, shifted, views=2)
    farthest = replace(plain, contrast=2.0, temperature=0.5, contrast_transform=farther)
    torch.manual_seed(0)
    without = plain(model, x)
    torch.manual_seed(0)
    terms = farthest(model, x, generator=torch.Generator().manual_seed(0))
    compared = [nt_xent(model.encoder(x + by).mean, terms.posterior.mean, 0.5) for by in (10, 20)]
    assert len(set(map(float, drawn))) == 2
    torch.testing.assert_close(terms.named.pop("contrast"), (compared[0] + compared[1]) / 2)
    torch.testing.assert_close(terms.per_shape, without.per_shape + compared[0] + compared[1])
    torch.testing.assert_close(terms.named, without.named)


def test_contrast_may_compare_the_views_that_are_rebuilt_beside_its_own(x):
    model = model_of(LinearGaussian())
    far = Consistent(ELBO(), 3.0, shifted, contrast=2.0, contrast_transform=lambda x, generator: x + 10)
    torch.manual_seed(0)
    alone = far(model, x)
    torch.manual_seed(0)
    terms = replace(far, contrast_both=True)(model, x)
    near = nt_xent(model.encoder(shifted(x)).mean, terms.posterior.mean, far.temperature)
    torch.testing.assert_close(terms.named.pop("contrast"), alone.named.pop("contrast") + near)
    torch.testing.assert_close(terms.per_shape, alone.per_shape + 2 * near)
    torch.testing.assert_close(terms.named, alone.named)


def test_nt_xent_compares_standardised_codes_wherever_it_stands(x):
    model = model_of(LinearGaussian())
    view, original = model.encoder(shifted(x)).mean, model.encoder(x).mean
    for name, options in {"contrast": {"contrast": 2.0}, "consistency": {"divergence": "nt-xent"}}.items():
        terms = Consistent(ELBO(), 3.0, shifted, contrast_standardised=True, **options)(model, x)
        torch.testing.assert_close(terms.named[name], nt_xent(view, original, 0.1, standardised=True))
        assert not torch.allclose(terms.named[name], nt_xent(view, original))


def test_the_temperature_is_that_of_nt_xent_wherever_it_stands(x):
    model = model_of(LinearGaussian())
    terms = Consistent(EncoderOnly(), 1.0, shifted, divergence="nt-xent", contrast=1.0, temperature=0.5)(model, x)
    view, original = model.encoder(shifted(x)), model.encoder(x)
    for name in ("consistency", "contrast"):
        torch.testing.assert_close(terms.named[name], nt_xent(view.mean, original.mean, 0.5))


def test_a_pair_prior_takes_the_place_of_both_priors(x):
    model, rho = model_of(LinearGaussian(widen=0.3)), 0.9
    terms = Consistent(ELBO(0.5), 0.5, shifted, divergence="avae")(model, x)
    view, original = model.encoder(x + 0.5), model.encoder(x)
    conditional = 0.5 * (
        ((view.mean - rho * original.mean).square() + view.variance + rho**2 * original.variance) / (1 - rho**2)
        + math.log(2 * math.pi * (1 - rho**2))
    ).sum(-1)  # -E log p(z'|z), the coupling of the AVAE
    kept = terms.named["distortion"] + terms.named["view_distortion"] + 0.5 * terms.named["rate"]
    torch.testing.assert_close(terms.per_shape, kept + 0.5 * (conditional - view.entropy()))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(divergence="kI"), "did you mean 'kl'"),
        (dict(target="orignal"), "did you mean 'original'"),
        (dict(weight=1.0, views=0), "a consistency weight of 1.0 needs views to compare: set views to 1 or more"),
        (dict(contrast=2.0, views=0), "a contrast weight of 2.0 needs views"),
        (dict(contrast_transform=shifted), "a contrast_transform makes the views of a contrast"),
        (dict(contrast=2.0, contrast_both=True), "pass contrast_transform=... too"),
        (dict(weight=-1.0), "consistency weight must be nought or more, and finite, got -1.0"),
        (dict(contrast=WarmUp(float("nan"))), "contrast weight must be nought or more"),
        (dict(transform=None), "pass transform"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(weight=CoolDown(1.0), views=0), "set views to 1"),
    ],
)
def test_wrong_settings_are_refused_with_advice(arguments, says):
    with pytest.raises(InputError, match=says):
        Consistent(ELBO(), **{"transform": shifted, **arguments})
    with pytest.raises(InputError, match="beta must be nought or more"):
        ELBO(beta=-1.0)


def test_warm_up_rises_from_nought_to_its_value():
    warm = WarmUp(2.0, over=0.25)
    assert [value_at(warm, p) for p in (0.0, 0.125, 0.25, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert final(warm) == 2.0 and final(0.5) == 0.5
    model, x = model_of(LinearGaussian()), torch.randn(2, 5, dtype=torch.float64)
    terms = ELBO(warm)(model, x, progress=0.125)
    torch.testing.assert_close(terms.per_shape, terms.named["distortion"] + terms.named["rate"])


def test_consistency_cools_down_to_the_bounds_alone(x):
    cooled = CoolDown(WarmUp(2.0, over=0.25), over=0.5)
    expected = [0.0, 1.0, 2.0, 2.0, 1.0, 0.0]
    parts = [0.0, 0.125, 0.25, 0.5, 0.75, 1.0]
    assert [value_at(cooled, p) for p in parts] == expected == value_at(cooled, torch.tensor(parts)).tolist()
    assert ever(cooled) and final(cooled) == 0 and not ever(CoolDown(0.0)) and ever(0.5)
    model, objective = model_of(LinearGaussian()), Consistent(ELBO(), cooled, shifted, contrast=CoolDown(3.0))
    for progress, weight, contrast in ((0.5, 2.0, 3.0), (0.75, 1.0, 1.5), (1.0, 0.0, 0.0)):
        torch.manual_seed(0)
        terms = objective(model, x, progress=progress)
        n = terms.named
        bounds = n["distortion"] + n["rate"] + n["view_distortion"] + n["view_rate"]
        torch.testing.assert_close(terms.per_shape, bounds + weight * n["consistency"] + contrast * n["contrast"])


def test_prior_is_normalised():
    z = torch.linspace(-8, 8, 4001)[:, None]
    assert torch.trapezoid(standard_normal(1).log_prob(z).exp(), z[:, 0]).item() == pytest.approx(1, abs=1e-5)
    assert standard_normal(3).entropy().item() == pytest.approx(1.5 * math.log(2 * math.pi * math.e), rel=1e-6)


def test_a_prior_of_fixed_numbers_goes_where_the_weights_go():
    model = VAE(nn.Linear(2, 2), nn.Linear(2, 2), standard_normal(3)).double()
    assert model.prior.mean.dtype == model.prior.log_variance.dtype == torch.float64
    assert model.to("meta").prior.mean.device.type == "meta"


def test_a_regulariser_alone_has_a_gradient_while_it_warms_up(x):
    model = model_of(LinearGaussian())
    objective = Consistent(EncoderOnly(), WarmUp(2.0, over=0.5), shifted, divergence="nt-xent")
    for progress, moved in ((0.0, False), (0.25, True)):
        (gradient,) = torch.autograd.grad(objective(model, x, progress=progress).loss, [model.encoder.shift])
        assert bool((gradient != 0).any()) == moved
