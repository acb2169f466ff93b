"""A hierarchy in the engine that clouds are trained and judged by: balance, penalty, resume, codes, log-likelihood."""

import copy

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

import crvae3d
from crvae3d.core.consistency import Consistent
from crvae3d.core.hierarchy import balanced, kl_groups
from crvae3d.core.objectives import ELBO
from crvae3d.core.schedules import WarmUp
from crvae3d.datasets.images.binarise import binarised
from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.likelihood import log_likelihood
from crvae3d.images.models import ImageModel, NVAEModel
from crvae3d.images.sampling import sample
from crvae3d.training.fit import fit
from crvae3d.training.settings import Training

TINY = NVAEModel(height=8, width=8, ladder="2x2:1 4x4:1", base_channels=4, latents=2, expansion=1)


@pytest.fixture(scope="module")
def digits():
    return crvae3d.load("digits", progress=False).train.select(np.arange(96))


def learnt(digits, folder, epochs=4, stop_after=None, resume=False, **training):
    """A model of its own and its objective, trained."""
    model, saves = TINY.build(seed=1), []

    def save():
        saves.append(1)
        if len(saves) == stop_after:
            raise KeyboardInterrupt

    objective = crvae3d.Consistent(
        ELBO(WarmUp(1.0, over=0.5), balance=True), 0.5, lambda x, generator: x.roll(1, dims=3)
    )
    asked = Training(epochs=epochs, batch_size=32, **training)
    same = lambda batch, generator: batch  # noqa: E731
    fit(model, objective, digits, None, same, asked, folder, save, resume=resume, progress=False)
    return model


def test_an_interrupted_and_resumed_run_gives_the_uninterrupted_ones_numbers_bit_for_bit(digits, tmp_path):
    whole = learnt(digits, tmp_path / "whole", penalty=0.1)
    with pytest.raises(KeyboardInterrupt):
        learnt(digits, tmp_path / "broken", stop_after=2, penalty=0.1)
    resumed = learnt(digits, tmp_path / "broken", resume=True, penalty=0.1)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_penalty_is_that_of_both_networks_and_holds_their_norms_down(digits, tmp_path):
    model, same = TINY.build(), TINY.build()  # each call goes on with the power iterations of its own model
    assert model.penalty() == same.encoder.penalty() + same.decoder.penalty() > 0
    assert ImageModel(height=8, width=8, widths=(4,)).build().penalty() == 0
    free, held = (learnt(digits, tmp_path / str(weight), penalty=weight) for weight in (0.0, 30.0))
    assert held.penalty() < 0.97 * free.penalty()


def test_the_rate_is_balanced_while_it_warms_up_and_plain_afterwards(digits):
    model, x = TINY.build().eval(), digits.intensities(slice(16))
    objective = ELBO(WarmUp(1.0, over=0.5), balance=True)
    for progress, beta in ((0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        torch.manual_seed(0)
        terms = objective(model, x, progress=progress)
        groups = kl_groups(terms.posterior, model.prior)
        torch.testing.assert_close(terms.named["rate"], groups.sum(0))
        paid = balanced(groups, terms.posterior.sizes) if beta < 1 else groups.sum(0)
        torch.testing.assert_close(terms.per_shape, terms.named["distortion"] + beta * paid)
        if beta < 1:
            assert (terms.per_shape - terms.named["distortion"] - beta * groups.sum(0)).abs().max() > 1e-4


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.5, 0.9])
def test_progress_as_a_tensor_gives_the_same_terms(digits, progress):
    """A recorded step reads it from the GPU's memory."""
    model, x = TINY.build().eval(), digits.intensities(slice(16))
    objective = Consistent(
        ELBO(WarmUp(1.0, over=0.5), balance=True), WarmUp(0.3, over=0.8), lambda x, generator: x.flip(-1)
    )
    found = []
    for given in (progress, torch.tensor(progress)):
        torch.manual_seed(0)
        found.append(objective(model, x, given))
    torch.testing.assert_close(found[1].per_shape, found[0].per_shape)
    assert found[0].named.keys() == found[1].named.keys()


def test_a_code_of_one_group_has_nothing_to_balance(digits):
    flat, x = ImageModel(height=8, width=8, widths=(16,), code_size=3).build(), digits.intensities(slice(8))
    found = []
    for balance in (False, True):
        torch.manual_seed(0)
        found.append(ELBO(WarmUp(1.0), balance)(flat, x, progress=0.1).per_shape)
    assert torch.equal(*found)


def test_its_codes_are_means_along_the_path_and_its_rate_is_that_of_the_hierarchy(digits):
    model = TINY.build()
    model(digits.intensities(slice(32)))  # batch norms have statistics of their own
    codes = encode(model, digits, batch_size=40, progress=False)
    with torch.no_grad():
        posterior = model.eval().encoder(digits.intensities())
        np.testing.assert_allclose(codes.means, posterior.mean, atol=1e-5)
        np.testing.assert_allclose(codes.pooled, model.encoder.pool(digits.intensities()), atol=1e-5)
        many = torch.stack([kl_divergence(model.encoder(digits.intensities()), model.prior) for _ in range(30)])
    assert codes.rate == pytest.approx(float(many.mean()), rel=0.1)
    flat = encode(ImageModel(height=8, width=8, widths=(4,)).build(), digits, progress=False)
    assert flat.rates is None and flat.rate > 0


def test_its_log_likelihood_is_bounded_by_more_samples_from_below(digits):
    model = TINY.build()
    model(digits.intensities(slice(32)))
    few = binarised(digits.select(np.arange(6)))
    found = log_likelihood(model, few, samples=(1, 10, 100), batch_size=30, progress=False)
    one, ten, hundred = (found.per_shape[count] for count in (1, 10, 100))
    assert one <= ten <= hundred < 0
    again = log_likelihood(model, few, samples=(100,), batch_size=100, progress=False)
    assert again.per_shape[100] == pytest.approx(hundred, abs=0.5), "other draws of the same weights"


def test_flat_models_are_sampled_too(digits):
    model = ImageModel(height=8, width=8, widths=(16,), code_size=3).build()
    first, again, other = (sample(model, 4, seed=seed) for seed in (0, 0, 1))
    assert first.shape == (4, 1, 8, 8) and torch.equal(first, again) and not torch.equal(first, other)
    cold = sample(copy.deepcopy(model), 4, temperature=0.0)
    assert torch.equal(cold[0], cold[3])
