"""Likelihoods of an image, given what the decoder says of every pixel; pixels are independent given the code.

    Bernoulli        log p(x|z) = sum_i x_i log p_i + (1 - x_i) log(1 - p_i)             x_i is 0 or 1
    Gaussian         log p(x|z) = sum_i log Normal(x_i; m_i, s^2)                        x_i is any number
    LogisticMixture  log p(x|z) = sum_pixels log sum_k w_k prod_c P_kc(x_c | x_<c)       x_c is one of 256 levels

All three are normalised. The first two are those of Kingma and Welling, Auto-Encoding Variational Bayes, 2014; s is learnt
with the decoder, as in sigma-VAE (Rybkin and others, 2021). The third is that of Salimans, Karpathy, Chen and Kingma,
PixelCNN++, 2017: P_kc is the mass that a logistic distribution has around a level, with all that lies beyond the darkest
and the brightest level given to these two; a colour's mean moves linearly with the colours before it.

    log P(x) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)),   a, b = (x +- half a step - m) / s

is that mass without a difference of nearly equal numbers, and its gradient in the tails does not vanish. The paper's code
takes the density instead where the mass is small.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn.functional import logsigmoid, softplus

from crvae3d.errors import InputError

MIXTURES = 10  # as in PixelCNN++
LOG_SCALES = (-7.0, 7.0)  # from a quarter of half a step between 256 levels, as in its code, to what has no middle


class PixelLikelihood(Distribution):
    """What the likelihoods share: an image (C, H, W) is one event; batch shapes are (B,) or (K, B).

    Args:
        batch_shape: of the images that the decoder returned.
        event_shape: (C, H, W).

    Attributes:
        normalised: `log_prob` is the logarithm of a probability or a density, whose sum or integral is one.
        discrete: it is that of a probability, which a code can reach: bits per dimension mean something.
    """

    arg_constraints: dict = {}
    normalised: bool = True
    discrete: bool = True

    def __init__(self, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        # Unchecked: a non-finite value must reach the loss, where the training skips the step and counts it.
        super().__init__(batch_shape, event_shape, validate_args=False)

    @property
    def dimensions(self) -> int:
        """C H W: what nats per image are divided by, for nats or bits per dimension."""
        return self.event_shape.numel()

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-likelihood of images, in nats per image, of this distribution's batch shape.

        Args:
            value: (B, C, H, W), where the batch shape is (B,) or (K, B).

        Raises:
            InputError: the images are not of the event's shape.
        """
        if value.shape[-3:] != self.event_shape:
            raise InputError(
                f"the decoder returns images of the shape {tuple(self.event_shape)}, got {tuple(value.shape[-3:])} to "
                "judge it by: decode and judge images of one size"
            )
        return self._log_prob(value)

    def _log_prob(self, value: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say how likely an image is: write `_log_prob`")


class Bernoulli(PixelLikelihood):
    """Every pixel is 1 with a probability of its own: a distribution of binary images.

    Grey values in [0, 1] are taken as well, and `log_prob` is then minus the cross-entropy: the mean over the binary images
    which have these probabilities, and no log density of the grey one. Binarise first for figures that can be compared.

    Args:
        logits: (..., C, H, W), log(p / (1 - p)).

    >>> Bernoulli(torch.zeros(2, 1, 4, 4)).log_prob(torch.ones(2, 1, 4, 4)) / math.log(2)
    tensor([-16., -16.])
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = precise(logits)
        super().__init__(logits.shape[:-3], logits.shape[-3:])

    @property
    def mean(self) -> Tensor:
        """The probabilities, (..., C, H, W)."""
        return self.logits.sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probability = self.mean.detach().expand(self._extended_shape(sample_shape))
        return (torch.rand_like(probability) < probability).to(probability)

    def _log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits - softplus(self.logits)).sum((-3, -2, -1))


class Gaussian(PixelLikelihood):
    """Every intensity lies around a mean of its own, with one deviation for all: a density over R^(C H W).

    Args:
        mean: (..., C, H, W), in [0, 1].
        log_scale: the logarithm of the deviation, in units of the intensity; a number or a scalar tensor.
    """

    discrete = False

    def __init__(self, mean: Tensor, log_scale: Tensor | float) -> None:
        self.loc = precise(mean)
        self.log_scale = torch.as_tensor(log_scale).to(self.loc)
        super().__init__(mean.shape[:-3], mean.shape[-3:])

    @property
    def mean(self) -> Tensor:
        """(..., C, H, W)."""
        return self.loc

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Intensities with their noise, so that some lie outside of [0, 1]."""
        mean = self.loc.detach().expand(self._extended_shape(sample_shape))
        return mean + self.log_scale.detach().exp() * torch.randn_like(mean)

    def _log_prob(self, value: Tensor) -> Tensor:
        squared = (value - self.loc).square().sum((-3, -2, -1)) * (-2 * self.log_scale).exp()
        return -squared / 2 - self.dimensions * (self.log_scale + math.log(2 * math.pi) / 2)


class LogisticMixture(PixelLikelihood):
    """Every pixel's colour is drawn from a mixture of discretised logistic distributions.

    An intensity x in [0, 1] stands for the level round((levels - 1) x); inside, levels lie evenly in [-1, 1].

    Args:
        parameters: (..., P, H, W) with P = K (1 + 2 C + C (C - 1) / 2): in this order the K logits of the weights; K C means
            and K C log scales, both in units of [-1, 1] and the latter kept within `LOG_SCALES`; and K C (C - 1) / 2 numbers
            whose tanh ties a channel to those before it. Within each part a component's channels are neighbours; its links
            are those of channel 1 to 0, 2 to 0, 2 to 1.
        channels: C.
        levels: of an intensity; 256 for 8 bits.

    Raises:
        InputError: P fits no number K of components.
    """

    def __init__(self, parameters: Tensor, channels: int, levels: int = 256) -> None:
        each, links = logistic_parameters(channels), channels * (channels - 1) // 2
        count, rest = divmod(parameters.shape[-3], each)
        if rest or not count:
            raise InputError(
                f"a mixture of logistics takes {each} numbers a component for {channels} channels, "
                f"got {parameters.shape[-3]}: pass a multiple"
            )
        sizes = [count, count * channels, count * channels, count * links]
        self.logits, means, log_scales, ties = precise(parameters).split(sizes, dim=-3)
        self.means = means.unflatten(-3, (count, channels))
        self.log_scales = log_scales.unflatten(-3, (count, channels)).clamp(*LOG_SCALES)
        self.links = ties.tanh().unflatten(-3, (count, links))
        self.levels = levels
        super().__init__(parameters.shape[:-3], torch.Size([channels, *parameters.shape[-2:]]))

    @property
    def mean(self) -> Tensor:
        """(..., C, H, W) in [0, 1]: the components' means, each brought into the range, by their weights.

        Where a component reaches over the edge of the range the distribution's own mean lies a little farther inside.
        """
        found = self.means[..., :0, :, :]
        for channel in range(self.event_shape[0]):
            found = _with_channel(found, self._conditional_mean(channel, found).clamp(-1, 1))
        weights = self.logits.softmax(-3)[..., None, :, :]
        return ((weights * found).sum(-4) + 1) / 2

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Images of the levels alone, (..., C, H, W) in [0, 1]: of every pixel a component, then channel after channel."""
        chosen = Categorical(logits=self.logits.movedim(-3, -1)).sample(sample_shape)[..., None, None, :, :]
        probability = torch.rand((*sample_shape, *self.means.shape), device=chosen.device).to(self.means)
        noise = probability.logit(torch.finfo(probability.dtype).eps) * self.log_scales.exp()
        found = noise[..., :0, :, :]
        for channel in range(self.event_shape[0]):
            drawn = self._conditional_mean(channel, found) + noise[..., channel, :, :]
            found = _with_channel(found, 2 * self._level((drawn + 1) / 2) / (self.levels - 1) - 1)
        index = chosen.expand(*chosen.shape[:-4], 1, *self.event_shape)
        return (found.gather(-4, index)[..., 0, :, :, :] + 1) / 2

    def _log_prob(self, value: Tensor) -> Tensor:
        level = self._level(precise(value)[..., None, :, :, :])
        x = 2 * level / (self.levels - 1) - 1
        channels = range(self.event_shape[0])
        means = torch.stack([self._conditional_mean(channel, x) for channel in channels], dim=-3)
        mass = self._log_mass(level, x - means).sum(-3)
        return (self.logits.log_softmax(-3) + mass).logsumexp(-3).sum((-2, -1))

    def _level(self, value: Tensor) -> Tensor:
        """The number of the level, from 0 to levels - 1, that an intensity is nearest to."""
        return (value.clamp(0, 1) * (self.levels - 1)).round()

    def _conditional_mean(self, channel: int, before: Tensor) -> Tensor:
        """The components' means (..., K, H, W) of a channel, where those before it have the values (..., K or 1, C, H, W)."""
        first = channel * (channel - 1) // 2
        links = self.links[..., first : first + channel, :, :]
        return self.means[..., channel, :, :] + (links * before[..., :channel, :, :]).sum(-3)

    def _log_mass(self, level: Tensor, away: Tensor) -> Tensor:
        """The logarithm of the mass around a level that lies `away` from the mean, (..., K, C, H, W)."""
        half, narrow = 1 / (self.levels - 1), (-self.log_scales).exp()
        below = logsigmoid((away + half) * narrow)
        above = logsigmoid((half - away) * narrow)
        between = torch.log(-torch.expm1(-2 * half * narrow))
        darkest, brightest = level == 0, level == self.levels - 1
        inside = torch.where(darkest | brightest, 0, between)
        return inside + torch.where(brightest, 0, below) + torch.where(darkest, 0, above)


def precise(numbers: Tensor) -> Tensor:
    """In single precision at least, also where a decoder works in half."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


def logistic_parameters(channels: int) -> int:
    """How many numbers describe one component of a `LogisticMixture`, 1 + 2 C + C (C - 1) / 2: 3 for grey, 10 for RGB."""
    return 1 + 2 * channels + channels * (channels - 1) // 2


def _with_channel(found: Tensor, channel: Tensor) -> Tensor:
    """One channel (..., K, H, W) more behind those (..., K, c, H, W) that were found."""
    return torch.cat([found, channel[..., None, :, :]], dim=-3)


class BernoulliHead(nn.Module):
    """From decoder output to `Bernoulli`.

    Args:
        channels: C of the images.

    Attributes:
        outputs: how many channels the decoder must return.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.outputs = channels

    def forward(self, output: Tensor) -> Bernoulli:
        """The likelihood of output (..., outputs, H, W), of batch shape (...,)."""
        return Bernoulli(output)


class GaussianHead(nn.Module):
    """From decoder output to `Gaussian`, with means inside of [0, 1] and a deviation that is learnt, 0.1 at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.outputs = channels
        self.log_scale = nn.Parameter(torch.tensor(math.log(0.1)))

    def forward(self, output: Tensor) -> Gaussian:
        return Gaussian(precise(output).sigmoid(), self.log_scale)


class LogisticHead(nn.Module):
    """From decoder output to `LogisticMixture` of `MIXTURES` components and 256 levels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.outputs = channels, MIXTURES * logistic_parameters(channels)

    def forward(self, output: Tensor) -> LogisticMixture:
        return LogisticMixture(output, self.channels)


LIKELIHOODS: dict[str, Callable[[int], nn.Module]] = {
    "bernoulli": BernoulliHead,
    "gaussian": GaussianHead,
    "logistic": LogisticHead,
}
"""By name, made of an image's number of channels C: a module with `outputs`, the channels that a decoder must return for it,
which maps such output (..., outputs, H, W) to a likelihood of batch shape (...,) and event shape (C, H, W)."""
