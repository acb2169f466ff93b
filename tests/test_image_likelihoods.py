"""Likelihoods of an image: each sums or integrates to one, and its samples follow it."""

import itertools
import math

import pytest
import torch
from torch.distributions import Independent, Normal

from crvae3d.errors import InputError
from crvae3d.images.likelihoods import (
    LIKELIHOODS,
    MIXTURES,
    Bernoulli,
    Gaussian,
    LogisticMixture,
    logistic_parameters,
)

NAMES = list(LIKELIHOODS)
CASES = list(itertools.product(NAMES, (1, 3)))


def of(name: str, output: torch.Tensor, channels: int):
    return LIKELIHOODS[name](channels)(output)


def output_for(name: str, channels: int, *batch: int) -> torch.Tensor:
    return torch.randn(*batch, LIKELIHOODS[name](channels).outputs, 4, 5)


def intensities(levels: int, channels: int) -> torch.Tensor:
    """Every colour as an image of one pixel, (levels ** channels, channels, 1, 1)."""
    axis = torch.arange(levels) / (levels - 1)
    return torch.cartesian_prod(*[axis] * channels).view(-1, channels, 1, 1)


@pytest.mark.parametrize(("name", "channels"), CASES)
class TestEveryLikelihood:
    def test_judges_every_image_by_its_own_parameters(self, name, channels):
        output, x = output_for(name, channels, 2, 3), torch.rand(3, channels, 4, 5).round()
        log_prob = of(name, output, channels).log_prob(x)
        assert log_prob.shape == (2, 3)
        alone = of(name, output[1, 2:3], channels).log_prob(x[2:3])
        torch.testing.assert_close(log_prob[1, 2:3], alone)
        torch.testing.assert_close(of(name, output[1], channels).log_prob(x), log_prob[1])

    def test_is_a_sum_over_pixels(self, name, channels):
        """Upper and lower halves are independent, and places may be exchanged."""
        output, x = output_for(name, channels, 3), torch.rand(3, channels, 4, 5).round()
        halves = [of(name, output[..., rows, :], channels).log_prob(x[..., rows, :]) for rows in ([0, 1], [2, 3])]
        torch.testing.assert_close(of(name, output, channels).log_prob(x), sum(halves))
        turned = of(name, output.flip(-1), channels).log_prob(x.flip(-1))
        torch.testing.assert_close(of(name, output, channels).log_prob(x), turned)

    def test_mean_and_samples_are_images(self, name, channels):
        likelihood = of(name, 3 * output_for(name, channels, 2, 3), channels)
        assert likelihood.mean.shape == (2, 3, channels, 4, 5) and likelihood.mean.shape[2:] == likelihood.event_shape
        assert likelihood.mean.min() >= 0 and likelihood.mean.max() <= 1
        assert likelihood.sample().shape == (2, 3, channels, 4, 5)
        sample = likelihood.sample(torch.Size([7]))
        assert sample.shape == (7, 2, 3, channels, 4, 5) and not sample.requires_grad
        assert likelihood.normalised and likelihood.dimensions == channels * 20

    def test_mean_is_that_of_the_samples(self, name, channels):
        output = output_for(name, channels, 1)
        if name == "logistic":  # the mean is exact as far as components stay inside of the range
            output = torch.cat([output[:, :MIXTURES], 0.2 * output[:, MIXTURES:]], 1)
            scales = slice(MIXTURES * (1 + channels), MIXTURES * (1 + 2 * channels))
            output[:, scales] -= 4
        likelihood = of(name, output, channels)
        sample = likelihood.sample(torch.Size([4000]))
        error = (sample.mean(0) - likelihood.mean) / sample.std(0) * 4000**0.5
        assert error.abs().max() < 5

    def test_half_precision_is_left_before_anything_is_computed(self, name, channels):
        output, x = output_for(name, channels, 3).bfloat16(), torch.rand(3, channels, 4, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = of(name, output, channels).log_prob(x)
        full = of(name, output.float(), channels).log_prob(x)
        assert mixed.dtype == torch.float32 and torch.equal(mixed, full)
        assert of(name, output.double(), channels).log_prob(x.double()).dtype == torch.float64

    def test_extreme_outputs_have_finite_likelihoods_and_gradients(self, name, channels):
        output = (1e4 * output_for(name, channels, 3)).requires_grad_()
        log_prob = of(name, output, channels).log_prob(torch.rand(3, channels, 4, 5).round())
        log_prob.sum().backward()
        assert log_prob.isfinite().all() and output.grad.isfinite().all()

    def test_an_image_of_another_size_is_refused(self, name, channels):
        likelihood = of(name, output_for(name, channels, 3), channels)
        with pytest.raises(InputError, match="one size"):
            likelihood.log_prob(torch.rand(3, channels, 5, 4))


def test_bernoulli_sums_to_one_over_all_binary_images():
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).view(-1, 1, 2, 3)
    total = Bernoulli(3 * torch.randn(1, 1, 2, 3)).log_prob(images).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_bernoulli_of_a_grey_image_is_the_mean_over_its_binary_images():
    likelihood, grey = Bernoulli(torch.randn(1, 1, 3, 3)), torch.rand(1, 1, 3, 3)
    binary = (torch.rand(100_000, 1, 3, 3) < grey).float()
    log_prob = likelihood.log_prob(binary)
    error = log_prob.std() / len(binary) ** 0.5
    assert (log_prob.mean() - likelihood.log_prob(grey)).abs().item() < 5 * error.item()


def test_gaussian_is_torchs_own():
    mean, x = torch.rand(4, 3, 2, 5, 6), torch.randn(3, 2, 5, 6)
    expected = Independent(Normal(mean, 0.3), 3).log_prob(x)
    torch.testing.assert_close(Gaussian(mean, math.log(0.3)).log_prob(x), expected)


def test_the_best_scale_is_the_residual():
    """Learnt by gradient, the scale comes to the deviation of intensities around their means: it is calibrated."""
    head, output = LIKELIHOODS["gaussian"](1), torch.zeros(8, 1, 10, 10)
    x = 0.5 + 0.03 * torch.randn(8, 1, 10, 10)
    optimiser = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (-head(output).log_prob(x).mean()).backward()
        optimiser.step()
    assert head.log_scale.exp().item() == pytest.approx((x - 0.5).square().mean().sqrt().item(), rel=0.02)


@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (1, 2), (2, 16), (3, 4)])
def test_mixture_of_logistics_sums_to_one_over_all_colours(channels, levels, spread):
    colours = intensities(levels, channels)
    for components in (1, 5):
        parameters = spread * torch.randn(20, 1, components * logistic_parameters(channels), 1, 1)
        log_prob = LogisticMixture(parameters.double(), channels, levels).log_prob(colours)
        assert log_prob.shape == (20, levels**channels)
        torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(20).double(), rtol=0, atol=1e-6)
        single = LogisticMixture(parameters, channels, levels).log_prob(colours)
        torch.testing.assert_close(single.exp().sum(1), torch.ones(20), rtol=0, atol=2e-3)


def test_mixture_of_logistics_is_the_papers_formula():
    """Salimans and others, 2017: differences of logistic functions at the level's two ends, in double precision."""
    components, x = 4, torch.rand(6, 3, 2, 2)
    parameters = torch.randn(6, components * 10, 2, 2)
    logits, rest = parameters.double()[:, :components], parameters.double()[:, components:]
    means, scales, links = rest.split([12, 12, 12], 1)
    means, scales, links = (part.unflatten(1, (components, 3)) for part in (means, scales.exp(), links.tanh()))
    level = (255 * x).round()
    value = (2 * level / 255 - 1).double()[:, None]
    red, green = value[:, :, 0], value[:, :, 1]
    after_red = means[:, :, 1] + links[:, :, 0] * red
    after_green = means[:, :, 2] + links[:, :, 1] * red + links[:, :, 2] * green
    away = value - torch.stack([means[:, :, 0], after_red, after_green], 2)
    upper, lower = ((away + 1 / 255) / scales).sigmoid(), ((away - 1 / 255) / scales).sigmoid()
    upper, lower = torch.where(level[:, None] == 255, 1, upper), torch.where(level[:, None] == 0, 0, lower)
    mixed = (logits.softmax(1) * (upper - lower).prod(2)).sum(1)
    expected = mixed.log().sum((1, 2))
    torch.testing.assert_close(LogisticMixture(parameters, 3).log_prob(x).double(), expected, rtol=1e-5, atol=1e-3)


def test_mixture_of_logistics_of_links_alone_repeats_red():
    """Green and blue that are tied to red, with narrow scales, are as red is."""
    parameters = torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0, -9.0, -9.0, 9.0, 9.0, -0.0]).view(1, 10, 1, 1)
    sample = LogisticMixture(parameters, 3).sample(torch.Size([200]))
    assert (sample[:, :, 1:] - sample[:, :, :1]).abs().max() < 0.02 and sample.std() > 0.1


@pytest.mark.parametrize(("channels", "levels"), [(1, 8), (3, 3)])
def test_samples_of_the_mixture_of_logistics_are_as_frequent_as_it_says(channels, levels):
    likelihood = LogisticMixture(torch.randn(1, 2 * logistic_parameters(channels), 1, 1), channels, levels)
    colours = intensities(levels, channels)
    probability = likelihood.log_prob(colours).exp()
    count = 40_000
    sample = likelihood.sample(torch.Size([count]))[:, 0, :, 0, 0]
    place = (sample * (levels - 1)).round().long() @ (levels ** torch.arange(channels - 1, -1, -1))
    torch.testing.assert_close(colours[place, :, 0, 0], sample)
    frequency = place.bincount(minlength=len(colours)) / count
    deviation = (probability * (1 - probability) / count).sqrt()
    assert ((frequency - probability).abs() < 5 * deviation + 1e-4).all()


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_tails_of_the_mixture_of_logistics_keep_their_gradient(level):
    """Far from a narrow component the mass itself is nought in single precision; its logarithm and gradient are not."""
    parameters = torch.zeros(2, 3, 1, 1)
    parameters[:, 1, 0, 0] = torch.tensor([-3.0, 3.0])
    parameters[:, 2] = -6
    parameters.requires_grad_()
    log_prob = LogisticMixture(parameters, 1).log_prob(torch.full((2, 1, 1, 1), level / 255))
    log_prob.sum().backward()
    gradient = parameters.grad[:, 1, 0, 0]
    if level not in (0, 255):
        assert (log_prob < -200).all() and gradient[0] > 100 and gradient[1] < -100
    else:
        far = 0 if level == 255 else 1
        assert log_prob[far] < -200 and abs(gradient[far]) > 100
        assert log_prob[1 - far].item() == pytest.approx(0, abs=1e-6)


def test_a_number_of_parameters_that_fits_no_mixture_is_refused():
    assert [logistic_parameters(channels) for channels in (1, 2, 3)] == [3, 6, 10]
    for size, channels in ((20, 1), (9, 3), (0, 1)):
        with pytest.raises(InputError, match="multiple"):
            LogisticMixture(torch.zeros(1, size, 2, 2), channels)
