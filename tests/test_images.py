"""The laws of every flat encoder and decoder for images."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from crvae3d.core.consistency import Consistent
from crvae3d.core.objectives import ELBO, IWAE
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError
from crvae3d.images import conv, mlp
from crvae3d.images.augment import HorizontalFlip
from crvae3d.images.conv import NORMS, ConvDecoder, ConvEncoder, sizes
from crvae3d.images.likelihoods import LIKELIHOODS, BernoulliHead
from crvae3d.images.models import NETWORKS, ImageModel
from crvae3d.images.sampling import sample

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 28, 20), (2, 13, 9), (1, 8, 8)]
SMALL = {"mlp": (24, 20), "conv": (8, 32, 16)}
NETS = [("mlp", "none"), *(("conv", norm) for norm in NORMS)]


def settings(network: str, norm: str = "group", shape: tuple[int, int, int] = (1, 28, 20), **options) -> ImageModel:
    channels, height, width = shape
    likelihood = "bernoulli" if channels == 1 else "logistic"
    sized = dict(
        channels=channels, height=height, width=width, code_size=6, widths=SMALL[network], likelihood=likelihood
    )
    return ImageModel(network, norm=norm, **{**sized, **options})


def built(network: str, norm: str = "group", **options):
    """A model in evaluation mode whose batch norms, where it has any, have statistics of their own."""
    chosen = settings(network, norm, **options)
    model = chosen.build()
    model(torch.rand(16, *chosen.shape))
    return model.eval()


@pytest.mark.parametrize(("network", "norm"), NETS)
class TestEveryNetwork:
    def test_images_in_a_batch_do_not_see_each_other(self, network, norm):
        encoder, x = built(network, norm).encoder, torch.rand(5, 1, 28, 20)
        together = encoder(x)
        for i in range(5):
            alone = encoder(x[i : i + 1])
            torch.testing.assert_close(together.mean[i], alone.mean[0])
            torch.testing.assert_close(together.stddev[i], alone.stddev[0])

    def test_tells_images_apart_and_sees_all_of_them(self, network, norm):
        x = torch.rand(2, 1, 28, 20, requires_grad=True)
        mean = built(network, norm).encoder(x).mean
        assert (mean[0] - mean[1]).abs().max() > 1e-3
        mean.square().sum().backward()
        assert (x.grad != 0).all()

    def test_reconstructions_have_the_size_of_the_image(self, network, norm):
        for shape in SHAPES:
            model, x = built(network, norm, shape=shape), torch.rand(3, *shape)
            posterior = model.encoder(x)
            assert isinstance(posterior, DiagonalGaussian) and model.encoder.code_size == 6
            assert posterior.batch_shape == (3,) and posterior.event_shape == (6,)
            likelihood = model.decoder(posterior.rsample(torch.Size([4])))
            assert likelihood.batch_shape == (4, 3) and likelihood.event_shape == shape
            assert model.reconstruct(x).shape == x.shape and likelihood.log_prob(x).shape == (4, 3)

    def test_a_code_is_decoded_to_the_same_image_in_any_batch(self, network, norm):
        decoder, codes = built(network, norm).decoder, torch.randn(4, 3, 6)
        mean = decoder(codes).mean
        torch.testing.assert_close(decoder(codes[2, 1]).mean, mean[2, 1])
        torch.testing.assert_close(decoder(codes.transpose(0, 1)).mean, mean.transpose(0, 1))
        assert decoder(codes[:0]).mean.shape == (0, 3, 1, 28, 20)

    def test_the_posterior_is_a_function_of_the_pooled_features(self, network, norm):
        encoder, x = built(network, norm).encoder, torch.rand(3, 1, 28, 20)
        pooled = encoder.pool(x)
        assert pooled.ndim == 2 and pooled.shape[1] == encoder.head.in_features
        assert torch.equal(encoder.posterior(pooled).mean, encoder(x).mean)
        assert torch.equal(encoder.posterior(pooled).log_variance, encoder(x).log_variance)

    @pytest.mark.parametrize("likelihood", LIKELIHOODS)
    def test_gradients_reach_every_weight(self, network, norm, likelihood):
        model = settings(network, norm, likelihood=likelihood).build()
        ELBO()(model, torch.rand(4, 1, 28, 20).round()).loss.backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 1e-9, name

    def test_samples_are_drawn_where_the_model_is(self, network, norm):
        """The meta device has shapes and no numbers, and refuses whatever was left on another."""
        assert sample(built(network, norm).to("meta"), 2).is_meta

    def test_half_precision_ends_in_single(self, network, norm):
        model, x = built(network, norm), torch.rand(4, 1, 28, 20)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = model.encoder(x)
            log_prob = model.decoder(posterior.mean).log_prob(x)
        assert posterior.mean.dtype == posterior.log_variance.dtype == log_prob.dtype == torch.float32
        torch.testing.assert_close(posterior.mean, model.encoder(x).mean, rtol=0.1, atol=0.05)

    @pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16])
    def test_images_may_be_of_another_precision_than_the_weights(self, network, norm, weights):
        model, x = built(network, norm).to(weights), torch.rand(4, 1, 28, 20).round()
        for of in (torch.float16, torch.float32, torch.float64):
            terms = Consistent(ELBO(), weight=1.0, transform=HorizontalFlip(1))(model, x.to(of))
            terms.loss.backward()
            assert terms.per_shape.isfinite().all() and model.reconstruct(x.to(of)).shape == x.shape
        assert torch.equal(model.embed(x), model.embed(x.double()))

    def test_other_batches_are_refused(self, network, norm):
        encoder = built(network, norm).encoder
        for wrong in (torch.rand(2, 1, 20, 28), torch.rand(1, 28, 20), torch.rand(2, 3, 28, 20), [torch.rand(28, 20)]):
            with pytest.raises(InputError, match=r"\(batch, 1, 28, 20\)"):
                encoder(wrong)
        with pytest.raises(InputError, match="ndarray; make a tensor"):
            encoder(np.zeros((2, 1, 28, 20)))
        with pytest.raises(InputError, match=r"got \(2, 3, 28, 20\)$"):  # one image is not what it was
            encoder(torch.rand(2, 3, 28, 20))
        with pytest.raises(InputError, match="divide 8-bit ones by 255"):
            encoder(torch.zeros(2, 1, 28, 20, dtype=torch.uint8))

    def test_weights_are_a_function_of_the_seed_alone(self, network, norm):
        before = torch.get_rng_state()
        one, other = settings(network, norm).build(1).state_dict(), settings(network, norm).build(2).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(5)
        same = settings(network, norm).build(1).state_dict()
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)

    def test_bounds_and_consistency_run_unchanged(self, network, norm):
        model, x = settings(network, norm).build(), torch.rand(4, 1, 28, 20).round()
        for objective in (IWAE(3), Consistent(ELBO(), weight=1.0, transform=HorizontalFlip(1))):
            model.zero_grad()
            terms = objective(model, x)
            assert terms.per_shape.shape == (4,) and terms.per_shape.isfinite().all()
            terms.loss.backward()
            assert all(weight.grad is not None for weight in model.parameters())


LEARNERS = [*((net, "bernoulli") for net in NETS), *((NETS[0], likelihood) for likelihood in ("gaussian", "logistic"))]


@pytest.mark.parametrize(("net", "likelihood"), LEARNERS, ids=str)
def test_fifty_steps_on_digits_improve_the_bound_of_others(net, likelihood):
    pixels = torch.from_numpy(load_digits().images).float()[:, None] / 16
    x = (pixels > 0.5).float() if likelihood == "bernoulli" else pixels
    train, test = x[:1400], x[1400:]
    model = settings(*net, shape=(1, 8, 8), likelihood=likelihood, widths=(64, 64)).build()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)

    def bound() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return -ELBO()(model.eval(), test).loss.item()

    with torch.no_grad():
        model(train)  # statistics for the batch norms of the untrained model
    before = bound()
    for step in range(50):
        optimiser.zero_grad()
        ELBO()(model.train(), train[torch.arange(100) + 100 * (step % 14)]).loss.backward()
        optimiser.step()
    assert bound() > before + 10


def test_group_norm_gives_an_image_its_posterior_while_training_too():
    """What batch norm does not; that is why it is not the default."""
    x = torch.rand(6, 1, 28, 20)
    for norm in NORMS:
        encoder = settings("conv", norm).build().train().encoder
        torch.manual_seed(0)
        together, apart = encoder(x).mean[:3], encoder(x[:3]).mean
        assert torch.allclose(together, apart, atol=1e-5) == (norm != "batch")


@pytest.mark.parametrize(("width", "groups"), [(8, 1), (16, 1), (20, 1), (32, 2), (100, 2), (1024, 64)])
def test_groups_divide_the_width(width, groups):
    norm = conv.group_norm(width)
    assert norm.num_groups == groups and norm(torch.rand(2, width, 1, 1)).std() > 0.1


def test_sides_are_halved_and_rounded_up():
    for height in range(1, 40):
        for (before, _), (after, _) in itertools.pairwise(sizes((1, height, 8), 5)):
            assert (
                2 * after - before in (0, 1) and conv.Halve(1, 1, True)(torch.rand(1, 1, before, 8)).shape[2] == after
            )


def test_the_networks_own_widths_are_those_of_the_papers_code():
    with torch.device("meta"):
        encoder, decoder = ConvEncoder((3, 64, 64)), ConvDecoder((3, 64, 64), BernoulliHead(3))
        flat = mlp.MLPEncoder((1, 28, 28))
    assert encoder.pool(torch.rand(1, 3, 64, 64, device="meta")).shape == (1, 1024 * 4 * 4)
    assert decoder(torch.rand(1, 50, device="meta")).mean.shape == (1, 3, 64, 64)
    channels = [layer.out_channels for layer in encoder.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert channels == [128, 256, 512, 1024]
    widths = [layer.out_features for layer in flat.network if isinstance(layer, torch.nn.Linear)]
    assert widths == [1000, 1000, 1000]


@pytest.mark.parametrize("network", NETWORKS)
def test_without_widths_a_model_takes_its_networks_own(network):
    with torch.device("meta"):
        encoder = NETWORKS[network][0](ImageModel(network))
        decoder = NETWORKS[network][1](ImageModel(network))
    assert encoder.head.in_features == {"mlp": 1000, "conv": 4096}[network]
    assert decoder(torch.rand(2, 50, device="meta")).mean.shape == (2, 1, 28, 28)


def test_settings_that_build_nothing_are_refused():
    for wrong in ({"network": "mpl"}, {"likelihood": "bernouli"}, {"norm": "gruop"}):
        with pytest.raises(InputError, match="did you mean"):
            ImageModel(**wrong)
    for wrong in ({"channels": 0}, {"height": -1}, {"width": 0}, {"code_size": 0}, {"widths": (8, 0)}):
        with pytest.raises(InputError, match="positive"):
            ImageModel(**wrong)
    for build in (lambda: ConvEncoder((1, 8, 8), norm="bacth"), lambda: ConvDecoder((1, 8, 8), None, norm="bacth")):
        with pytest.raises(InputError, match="did you mean"):
            build()
