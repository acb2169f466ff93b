"""NVAE: the ladder's text, the cells, the flows, and the laws of the whole model."""

import copy
from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import kl_divergence
from torch.func import jacrev

from crvae3d.core.consistency import Consistent
from crvae3d.core.hierarchy import kl_groups
from crvae3d.core.model import VAE
from crvae3d.core.objectives import ELBO, IWAE
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError
from crvae3d.images.flows import Flow, Flowed, Shift
from crvae3d.images.ladder import Ladder
from crvae3d.images.nvae import NVAE_PRESETS, build_nvae
from crvae3d.images.nvae_spectral import Conv, spectral_penalty
from crvae3d.images.sampling import readjust_statistics, sample

TINY = dict(ladder="2x2:1 4x4:2", base_channels=4, latents=2, expansion=2)
SMALL = dict(ladder="4x4:1 8x8:2", base_channels=4, latents=2, expansion=2)
MODELS = {
    "digits": dict(channels=1, height=8, width=8, **TINY),
    "flows": dict(channels=1, height=8, width=8, flows=2, **TINY),
    "one group": dict(channels=1, height=8, width=8, ladder="4x4:1", base_channels=4, latents=1),
    "oblong": dict(channels=1, height=5, width=7, ladder="2x2:1 4x4:1", base_channels=4, latents=2, expansion=2),
    "mnist": dict(channels=1, height=28, width=28, likelihood="gaussian", **SMALL),
    "cifar10": dict(channels=3, height=32, width=32, cells=2, likelihood="logistic", **SMALL),
}
GAUSSIAN = [name for name in MODELS if name != "flows"]


def test_doubles_stay_doubles():
    model = build_nvae(**MODELS["digits"]).double().eval()
    posterior = model.encoder(torch.rand(2, 1, 8, 8, dtype=torch.double))
    for found in (posterior.mean, posterior.rsample().codes, kl_divergence(posterior, model.prior)):
        assert found.dtype == torch.double


@pytest.mark.parametrize("name", ["digits", "flows", "one group"])
def test_codes_reach_every_weight_of_the_walk_but_those_beyond_them(name):
    """Several devices refuse to train weights that no gradient reaches."""
    model = build_nvae(**MODELS[name])
    posterior = model.encoder(torch.rand(4, 1, 8, 8))
    (posterior.rsample().codes.square().sum() + kl_divergence(posterior, model.prior).sum()).backward()
    walk = model.encoder.topdown
    beyond = {*walk.beyond_the_codes.parameters()}
    assert beyond and {weight for weight in walk.parameters() if weight.grad is None} == beyond


@cache
def _started(name: str) -> VAE:
    model = build_nvae(**MODELS[name])
    for _ in range(3):
        model(images(name, 8))
    return model.eval()


def model_of(name: str) -> VAE:
    """Past its start: batch norms have statistics of their own."""
    return copy.deepcopy(_started(name))


def images(name: str, count: int = 5) -> torch.Tensor:
    return torch.rand(count, *(MODELS[name][side] for side in ("channels", "height", "width")))


def turned(x, generator=None):
    return x.flip(3)


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_shapes(self, name):
        model, x = model_of(name), images(name)
        posterior = model.encoder(x)
        assert posterior.batch_shape == (5,) and posterior.event_shape == (model.encoder.code_size,)
        assert posterior.mean.shape == posterior.stddev.shape == (5, model.encoder.code_size)
        assert model.reconstruct(x).shape == x.shape
        assert model.encoder.pool(x).shape == (5, model.encoder.features(x)[0].shape[1])
        assert model.decoder(posterior.rsample(torch.Size([3]))).log_prob(x).shape == (3, 5)
        assert model.decoder(model.prior.mean).mean.shape == x.shape[1:]

    def test_a_path_and_its_codes_decode_alike_and_samples_do_not_mix(self, name):
        model, x = model_of(name), images(name)
        posterior = model.encoder(x)
        path = posterior.rsample(torch.Size([3]))
        whole = model.decoder(path).mean
        torch.testing.assert_close(model.decoder(path.codes).mean, whole)
        torch.testing.assert_close(model.decoder(path.codes[1, 2:3]).mean, whole[1, 2:3], rtol=1e-4, atol=1e-5)
        log_prob = model.encoder(x[2:3]).log_prob(path.codes[:, 2:3])
        torch.testing.assert_close(posterior.log_prob(path)[:, 2:3], log_prob, rtol=1e-4, atol=1e-3)

    def test_an_image_has_the_posterior_that_it_has_alone(self, name):
        model, x = model_of(name), images(name)
        together, alone = model.encoder(x), model.encoder(x[3:4])
        torch.testing.assert_close(together.mean[3:4], alone.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.stddev[3:4], alone.stddev, rtol=1e-4, atol=1e-5)

    def test_gradients_reach_every_weight(self, name):
        model = model_of(name).train()
        Consistent(ELBO(), 1.0, turned)(model, images(name, 8)).loss.backward()
        for weight_name, weight in model.named_parameters():
            assert weight.grad is not None and weight.grad.abs().max() > 1e-7, weight_name

    def test_bounds_are_finite_and_differentiable(self, name):
        model, x = model_of(name), images(name)
        for objective in (ELBO(), IWAE(3), Consistent(IWAE(2), 1.0, turned)):
            model.zero_grad()
            terms = objective(model, x)
            terms.loss.backward()
            assert terms.per_shape.shape == (5,) and terms.per_shape.isfinite().all()
            assert all(w.grad.isfinite().all() for w in model.parameters() if w.grad is not None)

    def test_consistency_of_equal_images_is_nought_and_of_others_is_not(self, name):
        model, x = model_of(name).train(), images(name)
        same = Consistent(ELBO(), 1.0, lambda x, generator: x)(model, x).named["consistency"]
        other = Consistent(ELBO(), 1.0, turned)(model, x).named["consistency"]
        assert (same == 0).all() and (other > 0).all()

    def test_weights_stand_in_the_model_once_and_make_it_again(self, name):
        model, x = model_of(name), images(name)
        weights = model.state_dict()
        assert len({tensor.data_ptr() for tensor in weights.values()}) == len(weights)
        other = build_nvae(**MODELS[name], seed=1).eval()
        assert not torch.allclose(other.embed(x), model.embed(x))
        other.load_state_dict(weights)
        assert torch.equal(other.embed(x), model.embed(x))

    def test_a_copy_has_a_walk_and_a_prior_of_its_own(self, name):
        model, x = model_of(name), images(name)
        copied = copy.deepcopy(model)
        prior_sample = model.prior.rsample(torch.Size([2]))
        before = model.embed(x), model.prior.log_prob(prior_sample.codes)
        assert torch.equal(copied.embed(x), before[0])
        assert copied.prior.walk is copied.decoder.topdown is copied.encoder.topdown is not model.decoder.topdown
        with torch.no_grad():
            for weight in copied.parameters():
                weight.add_(0.1)
        assert torch.equal(model.embed(x), before[0]) and not torch.allclose(copied.embed(x), before[0])
        assert torch.equal(model.prior.log_prob(prior_sample.codes), before[1])

    def test_all_of_it_moves_to_another_device(self, name):
        """The meta device has shapes and no numbers, and refuses whatever was left on another."""
        model, x = model_of(name).to("meta"), images(name).to("meta")
        posterior = model.encoder(x)
        path = posterior.rsample(torch.Size([2]))
        found = [model.decoder(path).log_prob(x), posterior.log_prob(path), model.prior.log_prob(path)]
        for numbers in (*found, kl_divergence(posterior, model.prior)[None].expand(2, -1)):
            assert numbers.is_meta and numbers.shape == (2, 5)

    def test_the_same_seed_gives_the_same_weights(self, name):
        first, second, other = (build_nvae(**MODELS[name], seed=seed) for seed in (4, 4, 5))
        pairs = list(zip(first.parameters(), second.parameters(), strict=True))
        assert all(torch.equal(*pair) for pair in pairs)
        assert not torch.equal(first.decoder.topdown.constant, other.decoder.topdown.constant)

    def test_samples_are_images_and_one_at_no_temperature(self, name):
        model = model_of(name)
        cold, warm = sample(model, 4, 0.0, seed=1), sample(model, 4, 1.0, seed=1)
        assert cold.shape == images(name, 4).shape and cold.min() >= 0 and cold.max() <= 1
        assert torch.equal(cold, sample(model, 4, 0.0, seed=2))
        torch.testing.assert_close(cold, model.decoder(model.prior.mean[None]).mean.expand_as(cold))
        assert torch.equal(warm, sample(model, 4, 1.0, seed=1))
        assert not torch.allclose(warm, sample(model, 4, 1.0, seed=2))

    def test_readjusting_changes_the_decoders_statistics_and_no_weight(self, name):
        model = model_of(name)
        before = copy.deepcopy(model.state_dict())
        readjust_statistics(model, batches=2, count=8, temperature=0.7)
        statistics = {key for key in before if "running" in key or "tracked" in key}
        changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert changed and changed <= {key for key in statistics if key.startswith("decoder")}
        assert {key for key in statistics if "decoder" in key and "running_mean" in key} <= changed
        assert not any(module.training for module in model.modules())
        again = copy.deepcopy(model)
        readjust_statistics(again, batches=2, count=8, temperature=0.7)
        assert all(torch.equal(*pair) for pair in zip(again.buffers(), model.buffers(), strict=True))


def test_mixed_precision_reaches_the_gradient_of_every_weight():
    model, x = model_of("digits").train(), images("digits", 16)

    def gradients(enabled):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = ELBO()(model, x).loss
        loss.backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    mixed, full = gradients(True), gradients(False)
    assert torch.nn.functional.cosine_similarity(mixed, full, dim=0) > 0.98


@pytest.mark.parametrize("name", GAUSSIAN)
def test_divergences_are_never_negative(name):
    model = model_of(name)
    groups = kl_groups(model.encoder(images(name)), model.prior)
    levels = len(Ladder.parse(MODELS[name]["ladder"]).levels)
    assert groups.shape == (levels, 5) and (groups > 0).all()


@pytest.mark.parametrize("name", GAUSSIAN)
def test_a_posterior_that_says_nothing_is_the_prior_exactly(name):
    model, x = model_of(name), images(name)
    with torch.no_grad():
        for head in model.encoder.heads:
            for weight in head.parameters():
                weight.zero_()
    posterior = model.encoder(x)
    assert (kl_groups(posterior, model.prior) == 0).all()
    path = posterior.rsample(torch.Size([2]))
    assert torch.equal(posterior.log_prob(path), model.prior.log_prob(path))


def test_readjusted_statistics_are_those_of_the_samples():
    model = model_of("digits")
    readjust_statistics(model, batches=20, count=64, temperature=0.5)
    norm, seen = model.decoder.rise[0].inner[1], []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    sample(model, 1000, 0.5, seed=99)
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), rtol=0.1, atol=0.05)
    torch.testing.assert_close(norm.running_var, seen[0].var((0, 2, 3)), rtol=0.2, atol=0.05)


def test_a_tiny_ladder_learns_digits():
    x = torch.as_tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    model = build_nvae(**MODELS["digits"])
    optimiser = torch.optim.Adamax(model.parameters(), 1e-2)
    losses = []
    for step in range(40):
        terms = ELBO()(model, x[torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:24]])
        optimiser.zero_grad()
        (terms.loss + 1e-3 * (model.encoder.penalty() + model.decoder.penalty())).backward()
        optimiser.step()
        losses.append(terms.loss.item())
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


class TestFlows:
    def setup_method(self):
        self.shape, self.state = (2, 3, 4), torch.randn(5, 6, 3, 4)
        self.shifts = [Shift(2, 6, backwards) for backwards in (False, True)]

    def flows(self, state):
        return [Flow(shift, state, self.shape) for shift in self.shifts]

    @pytest.mark.parametrize("backwards", [False, True])
    def test_each_number_depends_on_those_before_it_alone_and_on_all_of_them(self, backwards):
        shift = self.shifts[backwards]

        def flat(u):  # in the order of the flow: place after place, and latent after latent at a place
            u = u.view(3, 4, 2).permute(2, 0, 1)
            return shift(u[None], self.state[:1])[0].permute(1, 2, 0).flatten()

        jacobian = jacrev(flat)(torch.randn(24))
        before = jacobian.T if backwards else jacobian
        assert (before.triu() == 0).all()
        assert (before.diagonal(-1)[::2] != 0).all() and (before[2::2].diagonal(0)[::2] != 0).any()

    def test_there_and_back(self):
        u = torch.randn(5, 24)
        for flow in self.flows(self.state):
            z = flow(u)
            back = flow.inv(z.clone())
            torch.testing.assert_close(back, u)
            assert not torch.allclose(z, u)

    def test_density_is_that_of_a_change_of_variables(self):
        gaussian = DiagonalGaussian(torch.randn(5, 24), torch.randn(5, 24))
        q = Flowed(gaussian, self.flows(self.state))
        z = q.rsample()
        cached, anew = q.log_prob(z), Flowed(gaussian, self.flows(self.state)).log_prob(z.clone())
        torch.testing.assert_close(cached, anew)

        def there(u):
            for flow in self.flows(self.state[:1]):
                u = flow(u)
            return u

        u = torch.randn(24)
        jacobian = jacrev(lambda u: there(u[None])[0])(u)
        assert torch.linalg.slogdet(jacobian).logabsdet.abs() < 1e-4
        one = Flowed(DiagonalGaussian(gaussian.mean[:1], gaussian.log_variance[:1]), self.flows(self.state[:1]))
        expected = DiagonalGaussian(gaussian.mean[:1], gaussian.log_variance[:1]).log_prob(u[None])
        torch.testing.assert_close(one.log_prob(there(u[None])), expected, rtol=1e-4, atol=1e-3)

    def test_one_flow_for_both_leaves_the_divergence_and_another_one_has_none(self):
        p, q = (DiagonalGaussian(torch.randn(5, 24), torch.randn(5, 24)) for _ in range(2))
        state = self.state
        same = kl_divergence(Flowed(p, self.flows(state)), Flowed(q, self.flows(state)))
        torch.testing.assert_close(same, kl_divergence(p, q))
        with pytest.raises(NotImplementedError):
            kl_divergence(Flowed(p, self.flows(state)), Flowed(q, self.flows(state.clone())))

    def test_the_mean_is_the_mode(self):
        q = Flowed(DiagonalGaussian(torch.randn(5, 24), torch.randn(5, 24)), self.flows(self.state))
        mode = q.log_prob(q.mean)
        for scale in (0.01, 0.1, 1.0):
            assert (q.log_prob(q.mean + scale * torch.randn(5, 24)) < mode).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_is_torchs_own_also_channels_last_and_for_odd_batches(size, stride):
    own = Conv(8, 16, size, stride).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(8, 16, size, stride, size // 2)
    plain.load_state_dict({name: own.state_dict()[name].contiguous() for name in ("weight", "bias")})
    x = torch.randn(3, 8, 16, 16)
    found = own(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, plain(x))
    found.square().sum().backward(), plain(x).square().sum().backward()
    torch.testing.assert_close(
        own.weight.grad, plain.weight.grad.to(memory_format=torch.channels_last), rtol=1e-4, atol=1e-3
    )


class TestSpectralPenalty:
    @pytest.mark.parametrize("arguments", [(6, 9, 3), (8, 4, 1), (5, 5, 3, 2)])
    def test_norm_is_the_largest_singular_value_and_so_is_its_gradient(self, arguments):
        convolution = Conv(*arguments)
        for _ in range(300):
            found = convolution.spectral_norm()
        expected = torch.linalg.matrix_norm(convolution.weight.flatten(1), 2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
        mine, exact = (torch.autograd.grad(norm, convolution.weight)[0] for norm in (found, expected))
        torch.testing.assert_close(mine, exact, rtol=0, atol=1e-2)

    @pytest.mark.parametrize("channels", (1, 4))
    def test_norm_of_depthwise_kernels_is_that_of_their_block_diagonal_matrix(self, channels):
        convolution = Conv(channels, channels, 5, depthwise=True)
        matrix = torch.block_diag(*convolution.weight.flatten(1).split(1))
        torch.testing.assert_close(convolution.spectral_norm(), torch.linalg.matrix_norm(matrix, 2))

    def test_counts_every_convolution_and_batch_norm_once(self):
        model = model_of("digits")
        parts = model.encoder.penalty() + model.decoder.penalty()
        torch.testing.assert_close(parts, spectral_penalty(model), rtol=1e-2, atol=0)
        with torch.no_grad():
            scales = [weight for name, weight in model.named_parameters() if weight.ndim == 1 and "weight" in name]
            for scale in scales:
                scale[0] = -3.0  # the others are 1 at the start
        expected = torch.tensor(2.0 * len(scales))
        torch.testing.assert_close(spectral_penalty(model) - parts, expected, rtol=1e-2, atol=0)


class TestLadder:
    @pytest.mark.parametrize("text", ["4x4:5 8x8:10", "16x16:30", "2x3:1 4x6:2 8x12:3"])
    def test_prints_what_it_reads(self, text):
        assert str(Ladder.parse(text)) == text == str(Ladder.parse(f"  {text.replace(' ', '   ')} "))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "at least one scale"),
            ("4x4", "got '4x4' in"),
            ("4x4:5,8x8:10", "HEIGHTxWIDTH:GROUPS"),
            ("4x4:0", "1 or more, got '4x4:0'"),
            ("8x8:10 4x4:5", "after '8x8:10' expected '16x16:...', got '4x4:5'"),
        ],
    )
    def test_says_what_is_wrong(self, text, says):
        with pytest.raises(InputError, match=says):
            Ladder.parse(text)

    def test_refuses_images_that_would_be_mostly_padding(self):
        with pytest.raises(InputError, match="padded to 16x16"):
            Ladder.parse("16x16:1").halvings(8, 8)


def test_presets_fit_their_images():
    sides = {"digits": (8, 4), "mnist": (28, 8), "cifar10": (32, 16), "celeba64": (64, 32)}
    latents = {"digits": 144, "mnist": 14_400, "cifar10": 153_600, "celeba64": 467_200}
    for name, preset in NVAE_PRESETS.items():
        side, finest = sides[name]
        ladder = Ladder.parse(preset["ladder"])
        assert finest * 2 ** ladder.halvings(side, side) in (side, 32)
        places = sum(scale.groups * scale.height * scale.width for scale in ladder.scales)
        assert preset["latents"] * places == latents[name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(likelihood="bernouli"), "did you mean 'bernoulli'"),
        (dict(latents=0), "latents must be 1 or more"),
        (dict(base_channels=-1), "base-channels must be 1 or more"),
        (dict(flows=-1), "flows must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused_with_advice(change, says):
    with pytest.raises(InputError, match=says):
        build_nvae(**{**MODELS["digits"], **change})


def test_wrong_inputs_are_refused_with_advice():
    model = build_nvae(**MODELS["digits"])
    for wrong in (torch.rand(8, 8), torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "digits"):
        with pytest.raises(InputError, match="images (has the shape|are floats)"):
            model.encoder(wrong)
    with pytest.raises(InputError, match="temperature must be 0 or more"):
        sample(model, 1, -0.1)
    with pytest.raises(InputError, match="at least 1 batch"):
        readjust_statistics(model, batches=0)
    momenta = {norm.momentum for norm in model.decoder.modules() if isinstance(norm, torch.nn.BatchNorm2d)}
    assert momenta and None not in momenta
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match="temperature must be 0 or more"):
        readjust_statistics(model, temperature=-1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {norm.momentum for norm in model.decoder.modules() if isinstance(norm, torch.nn.BatchNorm2d)} == momenta
