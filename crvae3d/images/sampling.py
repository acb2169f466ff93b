"""Images drawn from a model's prior at a temperature: each deviation is multiplied by it, 1 for the prior itself.

Low temperatures stay near the modes. The running statistics of an NVAE's batch norms are those of codes of posteriors,
which are not those of such samples; Vahdat and Kautz, NVAE, 2020, re-estimate them at the temperature that is sampled at.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from crvae3d.core.hierarchy import Chain, Path
from crvae3d.core.model import VAE
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError


def sample(model: VAE, count: int, temperature: float = 1.0, seed: int = 0) -> Tensor:
    """Images of a model: the likelihood's mean at codes of the prior, (count, C, H, W).

    Args:
        model: its mode is what it was afterwards.
        count: how many.
        temperature: nought or more; at nought all images are one.
        seed: of the codes.

    Raises:
        InputError: the temperature is negative.
    """
    with _mode(model, training=False), torch.no_grad():
        return model.decoder(_draw(model, count, temperature, seed)).mean


def readjust_statistics(
    model: VAE, batches: int = 100, count: int = 64, temperature: float = 1.0, seed: int = 0
) -> None:
    """Replace the running statistics of the decoder's batch norms by the means over samples at a temperature.

    No weight changes, but the bound of an image does, whose path uses the same norms: measure it first, or on a copy.

    Args:
        model: its mode is what it was afterwards; one without batch norms stays as it is.
        batches: how many batches are averaged.
        count: samples a batch.
        temperature: nought or more.
        seed: of the codes.

    Raises:
        InputError: the temperature is negative, or there is nothing to average.
    """
    if batches < 1 or count < 1:
        raise InputError(f"statistics need at least 1 batch of 1 sample, got {batches} of {count}; the paper takes 500")
    norms = [module for module in model.decoder.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta, before = [norm.momentum for norm in norms], [copy.deepcopy(norm.state_dict()) for norm in norms]
    try:
        with _mode(model, training=True), torch.no_grad():
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # torch's sign for a mean over all batches
            for batch in range(batches):
                model.decoder(_draw(model, count, temperature, seed + batch))
    except BaseException:  # nothing is half done
        for norm, state in zip(norms, before, strict=True):
            norm.load_state_dict(state)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _draw(model: VAE, count: int, temperature: float, seed: int) -> Path | Tensor:
    """Codes of the prior at a temperature, of a hierarchy a path; their random numbers are a function of the seed."""
    if not temperature >= 0:
        raise InputError(f"temperature must be 0 or more, got {temperature}; use 1 for the prior itself")
    device, prior = next(model.parameters()).device, model.prior
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        if not isinstance(prior, Chain):
            noise = torch.randn(count, *prior.event_shape).to(device)
            return prior.mean.to(device) + temperature * prior.stddev.to(device) * noise
        conditional = partial(_tempered, prior, temperature)
        return Chain(prior.walk, conditional).rsample(torch.Size([count]))


def _tempered(prior: Chain, temperature: float, level: int, state: object) -> DiagonalGaussian:
    conditional = prior.conditional(level, state)
    log_factor = 2 * math.log(temperature) if temperature > 0 else -math.inf
    return DiagonalGaussian(conditional.mean, conditional.log_variance + log_factor)


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Hold a model in one mode; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
