"""The laws of every encoder and decoder for clouds."""

import itertools

import pytest
import roma
import torch

from crvae3d.core.objectives import ELBO
from crvae3d.errors import InputError
from crvae3d.points import neighbourhoods
from crvae3d.points.batch import NUMBERS_A_BLOCK, ragged
from crvae3d.points.folding import TEMPLATES, Folding, _Fold, plane, sphere
from crvae3d.points.models import PointModel
from crvae3d.points.neighbourhoods import draw, moments
from crvae3d.points.pointnet import NORMS, PointNet, SharedNetwork, distinct, largest
from tests import references

ENCODERS = [
    dict(norm=norm, input_transform=turn, head_widths=widths, neighbourhoods=scales)
    for norm, turn, widths, scales in itertools.product(NORMS, (False, True), ((), (24, 16)), (0, 2))
]


def cloud(*size: int) -> torch.Tensor:
    """Points in or about the unit sphere."""
    return 0.3 * torch.randn(*size, 3)


def encoder_of(options) -> PointNet:
    encoder = PointNet(6, (8, 16, 32), **options)
    if encoder.align is not None:  # past its start, where it is the identity
        torch.nn.init.normal_(encoder.align.head[-1].weight, std=0.3)
    encoder(cloud(8, 50))  # gives a batch norm statistics of its own
    return encoder.eval()


@pytest.mark.parametrize("options", ENCODERS, ids=str)
class TestEveryEncoder:
    def test_is_invariant_to_the_order_of_points(self, options):
        encoder, x = encoder_of(options), cloud(3, 40)
        shuffled = x[:, torch.randperm(40)]
        torch.testing.assert_close(encoder(x).mean, encoder(shuffled).mean)
        torch.testing.assert_close(encoder(x).stddev, encoder(shuffled).stddev)

    def test_padding_changes_nothing(self, options):
        encoder, small, large = encoder_of(options), cloud(700), cloud(2048)
        together = encoder(ragged([small, large]))
        rounded = dict(rtol=1e-4, atol=1e-4) if options["neighbourhoods"] else {}  # sums of a thousand weights
        for i, alone in enumerate((small, large)):
            torch.testing.assert_close(together.mean[i], encoder(alone[None]).mean[0], **rounded)
            torch.testing.assert_close(together.stddev[i], encoder(alone[None]).stddev[0])

    def test_padding_reaches_no_gradient_in_training(self, options):
        encoder = encoder_of(options).train()
        batch = ragged([cloud(5), cloud(9)])
        points = batch.points.requires_grad_()
        encoder(batch).mean.square().sum().backward()
        assert (points.grad[~batch.mask] == 0).all() and (points.grad[batch.mask] != 0).any()

    def test_shapes_in_a_batch_do_not_see_each_other(self, options):
        encoder, x = encoder_of(options), cloud(3, 40)
        torch.testing.assert_close(encoder(x).mean[1:2], encoder(x[1:2]).mean)

    def test_tells_shapes_apart(self, options):
        encoder, x = encoder_of(options), cloud(2, 40)
        assert (encoder(x).mean[0] - encoder(x).mean[1]).abs().max() > 1e-3


def test_input_transform_starts_as_the_identity():
    encoder = PointNet(6, (8, 16, 32), input_transform=True)
    points = torch.randn(2, 20, 3)
    assert torch.equal(encoder.align(points), torch.eye(3).expand(2, 3, 3))


def test_half_precision_leaves_coordinates_as_exact_with_an_input_transform():
    plain, encoder = (PointNet(6, (8, 16), input_transform=turn, neighbourhoods=1) for turn in (False, True))
    points, read = torch.rand(2, 30, 3) - 0.5, []
    for network in (plain, encoder):
        network.shared.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        with torch.autocast("cpu", torch.bfloat16):
            network(points)
    torch.testing.assert_close(*read)
    assert encoder.bfloat16()(points).mean.isfinite().all()


@pytest.mark.parametrize("block", [2**20, 150], ids=["one-block", "parts-of-a-cloud"])
class TestNeighbourhoods:
    @pytest.fixture(autouse=True)
    def small_blocks(self, block, monkeypatch):
        monkeypatch.setitem(NUMBERS_A_BLOCK, "cpu", block)

    def test_moments_equal_their_definition(self, block):
        clouds = cloud(3, 25)
        expected = torch.stack([references.moments(one, [0.4, 0.2, 0.1]) for one in clouds])
        torch.testing.assert_close(moments(clouds, 3), expected.float(), rtol=1e-4, atol=1e-4)

    def test_padded_points_have_no_weight(self, block):
        clouds = [cloud(9), cloud(25)]
        batch = ragged(clouds)
        found = moments(batch.points, 2, batch.mask)
        assert found.isfinite().all()
        for one, there, found_there in zip(clouds, batch.mask, found, strict=True):
            expected = references.moments(one, [0.2, 0.1]).float()
            torch.testing.assert_close(found_there[there], expected, rtol=1e-4, atol=1e-4)

    def test_mixed_precision_leaves_them_exact(self, block):
        clouds = cloud(2, 25)
        with torch.autocast("cpu", torch.bfloat16):
            found = moments(clouds, 2)
        assert torch.equal(found, moments(clouds, 2))

    def test_a_rotation_turns_what_lies_around_a_point(self, block):
        points = cloud(1, 25)
        turn = roma.random_rotmat()
        before, after = (of.unflatten(-1, (2, 9)) for of in (moments(points, 2), moments(points @ turn, 2)))
        torch.testing.assert_close(before[..., :3] @ turn, after[..., :3], rtol=1e-4, atol=1e-4)
        spread = [of[..., [3, 6, 8]].sum(-1) for of in (before, after)]
        torch.testing.assert_close(*spread, rtol=1e-4, atol=1e-4)

    def test_gradients_are_right(self, block):
        clouds = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: moments(x, 2), clouds)


def test_clouds_far_outside_the_unit_sphere_have_finite_moments():
    assert moments(1000 * (1 + torch.rand(1, 50, 3)), 3).isfinite().all()


class TestLargeClouds:
    """Some of their points stand for all, here 64."""

    @pytest.fixture(autouse=True)
    def fewer(self, monkeypatch):
        monkeypatch.setattr(neighbourhoods, "SOURCES", 64)

    def test_a_point_is_weighed_against_those_drawn_and_itself(self):
        points = cloud(1, 200)
        drawn = draw(points)
        assert drawn.shape == (1, 64) and len(drawn.unique()) == 64
        found = moments(points, 2, drawn=drawn)
        for place in range(200):
            around = points[0, [place, *(other for other in drawn[0].tolist() if other != place)]]
            expected = references.moments(around, [0.2, 0.1])[0].float()
            torch.testing.assert_close(found[0, place], expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("turn", [False, True])
    def test_the_order_of_points_changes_nothing(self, turn):
        encoder, x = encoder_of(dict(input_transform=turn, neighbourhoods=2)), cloud(3, 200)
        torch.testing.assert_close(encoder(x).mean, encoder(x[:, torch.randperm(200)]).mean, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", ["mirrored", "grid", "axes"])
    def test_nor_does_that_of_points_that_are_like_each_other(self, kind):
        mirrors = torch.tensor([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1.0]])
        grid = torch.cartesian_prod(*3 * [torch.linspace(-0.5, 0.5, 7)])
        points = {
            "mirrored": (cloud(1, 100) * mirrors[:, None]).reshape(1, -1, 3),
            "grid": grid[None],
            "axes": torch.cat([torch.eye(3), -torch.eye(3)]).repeat(30, 1)[None] * torch.rand(180, 1),
        }[kind]
        order = torch.randperm(points.shape[1])
        one, other = (of.take_along_dim(draw(of)[..., None], 1)[0] for of in (points, points[:, order]))
        assert torch.equal(one.unique(dim=0), other.unique(dim=0)) and len(one.unique(dim=0)) == 64

    @pytest.mark.parametrize("size", [40, 64, 150])
    def test_padding_changes_nothing(self, size):
        clouds = [cloud(size), cloud(200)]
        batch = ragged(clouds)
        drawn = draw(batch.points, batch.mask)
        found = moments(batch.points, 2, batch.mask, drawn)[0, :size]
        alone = clouds[0][None]
        torch.testing.assert_close(found, moments(alone, 2, None, draw(alone))[0], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", ["anywhere", "grid", "rounded"])
    def test_the_draw_is_fair(self, kind):
        points = torch.rand(50, 1000, 3)
        points = {  # of one and the same grid the same places would be drawn each time
            "anywhere": points,
            "grid": (10 * points).floor() / 10 + torch.rand(50, 1, 3),
            "rounded": (9999 * points).round() / 9999,
        }[kind]
        drawn = points.take_along_dim(draw(points)[..., None], 1)
        of_drawn, of_all = (torch.cat([of.flatten(0, 1).mean(0), of.flatten(0, 1).var(0)]) for of in (drawn, points))
        assert (of_drawn - of_all).abs().max() < 0.03

    @pytest.mark.parametrize("size", [1, 20, 50, 100])
    def test_of_a_cloud_that_is_repeated_each_place_is_drawn_as_often(self, size):
        points = cloud(size).repeat(400 // size, 1)[torch.randperm(400 // size * size)]
        batch = ragged([points, cloud(500)])  # padding is not drawn before any repetition
        drawn = batch.points[0, draw(batch.points, batch.mask)[0]]
        _, times = drawn.unique(dim=0, return_counts=True)
        assert len(times) == min(size, 64) and times.max() - times.min() <= 1

    def test_gradients_are_right(self):
        clouds = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
        drawn = torch.tensor([[0, 3, 4], [5, 1, 2]])
        assert torch.autograd.gradcheck(lambda x: moments(x, 2, drawn=drawn), clouds)


def test_moments_are_those_of_the_surface_however_densely_it_is_sampled():
    normals = torch.nn.functional.normalize(torch.randn(1, 8192, 3), dim=-1)
    surface = 0.8 * normals
    found = {points: moments(surface[:, :points], 1)[:, :512] for points in (1024, 4096, 8192)}
    errors = [(found[points] - found[8192]).abs().mean() for points in (1024, 4096)]
    assert errors[1] < errors[0] / 1.5 < 0.1
    rows, columns = torch.triu_indices(3, 3)
    covariance, normal = found[8192][0, :, 3:], normals[0, :512]
    twice = torch.where(rows == columns, 1, 2)
    across = (covariance * normal[:, rows] * normal[:, columns] * twice).sum(-1)
    along = covariance[:, rows == columns].sum(-1) - across
    assert across.max() < 0.05  # a neighbourhood is flat across the surface
    torch.testing.assert_close(
        along.mean(), torch.tensor(2.0), rtol=0.1, atol=0
    )  # and a radius wide along it, both ways


NETWORKS = [(norm, masked) for norm in NORMS for masked in (False, True)]


@pytest.mark.parametrize(("norm", "masked"), NETWORKS)
@pytest.mark.parametrize("block", [2**20, 300], ids=["one-block", "parts-of-a-cloud"])
def test_differentiating_winners_alone_equals_the_plain_definition(norm, masked, block, monkeypatch):
    monkeypatch.setitem(NUMBERS_A_BLOCK, "cpu", block)
    network = SharedNetwork((8, 16, 12), norm)
    points = torch.randn(5, 96, 3, requires_grad=True)
    mask = torch.rand(5, 96) < 0.7 if masked else None
    inputs = (points, *network.parameters())
    there = torch.ones(5, 96, dtype=torch.bool) if mask is None else mask
    packed = network.last(network.layers(points[there]))
    clouds = packed.split(there.sum(1).tolist())
    plain = torch.stack([cloud.max(0).values for cloud in clouds])
    seed = torch.randn_like(plain)
    gradient = torch.autograd.grad(plain, inputs, seed, retain_graph=True)
    ways = [network] if norm == "batch" else [network, network._plain]  # the second is a GPU's
    for way in ways:
        found = way(points, mask)
        torch.testing.assert_close(found, plain)
        for mine, theirs in zip(torch.autograd.grad(found, inputs, seed), gradient, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_largest_equals_torchs_own_maximum():
    features = torch.randn(3, 128, 7)
    value, winner = largest(features)
    expected = features.max(1)
    assert torch.equal(value, expected.values) and torch.equal(winner, expected.indices)
    assert largest(torch.full((2, 64, 3), torch.nan))[1].max() < 64  # an index that can be looked up


def test_distinct_equals_torchs_own_unique():
    rows = torch.randint(0, 50, (4, 30))
    for mine, theirs in zip(distinct(rows, 60), rows.unique(return_inverse=True), strict=True):
        assert torch.equal(mine, theirs)


def test_mixed_precision_reaches_the_gradient_of_every_weight():
    """Weights that autocast keeps in its cache while no gradient is wanted would have none afterwards."""
    model = PointModel(code_size=8, encoder_widths=(8, 16, 32), head_widths=(16,), output_points=49, decoder_width=16)
    model = model.build()
    x = torch.randn(4, 64, 3)

    def gradients(enabled: bool) -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = ELBO()(model, x).loss
        loss.backward()
        return [weight.grad for weight in model.parameters()]

    names = dict(model.named_parameters())
    for name, mixed, full in zip(names, gradients(True), gradients(False), strict=True):
        assert torch.nn.functional.cosine_similarity(mixed.flatten(), full.flatten(), dim=0) > 0.9, name


def test_a_second_derivative_is_refused_and_none_lacks_terms():
    model = PointModel(code_size=4, encoder_widths=(8, 16), head_widths=(8,), output_points=9, decoder_width=8).build()
    x, codes = cloud(2, 30).requires_grad_(), torch.randn(2, 4, requires_grad=True)
    for out, at in ((model.encoder.pool(x), x), (model.decoder.decode(codes), codes)):
        with pytest.raises(InputError, match="no second derivative: leave create_graph out"):
            torch.autograd.grad(out.sum(), at, create_graph=True)


def test_a_gradient_taken_under_autocast_is_the_one_taken_outside():
    model = PointModel(code_size=4, encoder_widths=(8, 16), head_widths=(8,), output_points=9, decoder_width=8).build()
    x, found = cloud(2, 30), []
    for half in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        loss = ELBO()(model, x).loss
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss.backward()
        found.append([weight.grad for weight in (*model.decoder.folds.parameters(), model.encoder.shared.last.weight)])
    for outside, inside in zip(*found, strict=True):
        torch.testing.assert_close(inside, outside, rtol=0.05, atol=0.01 * outside.abs().max().item())


@pytest.mark.parametrize("block", [2**20, 500, 100], ids=["one-block", "shapes", "parts-of-a-shape"])
def test_a_fold_in_blocks_equals_the_published_one(block, monkeypatch):
    monkeypatch.setitem(NUMBERS_A_BLOCK, "cpu", block)
    decoder = Folding(4, points=25, width=16)
    fold = decoder.folds[1]
    codes, points = torch.randn(3, 4, requires_grad=True), torch.randn(3, 25, 3, requires_grad=True)
    inputs = (codes, points, *fold.parameters())
    mine, theirs = fold(codes, points), references.fold(fold, codes, points)
    torch.testing.assert_close(mine, theirs)
    seed = torch.randn_like(mine)
    for fast, slow in zip(*(torch.autograd.grad(y, inputs, seed) for y in (mine, theirs)), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(fold(codes, points), mine)


def test_a_step_equals_that_of_the_straightforward_implementation():
    """Without neighbourhoods, whose rounding decides now and then which of two points wins a feature."""
    sizes = dict(code_size=16, encoder_widths=(16, 32, 64), head_widths=(32,), output_points=100, decoder_width=32)
    model = PointModel(**sizes, neighbourhoods=0).build()
    x = torch.rand(4, 160, 3) - 0.5
    found = []
    for form in (model, references.plain(model)):
        model.zero_grad()
        torch.manual_seed(0)
        loss = ELBO()(form, x).loss
        loss.backward()
        found.append((loss, [weight.grad for weight in model.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=0)
    for name, mine, theirs in zip(dict(model.named_parameters()), found[0][1], found[1][1], strict=True):
        assert (mine - theirs).norm() <= 1e-4 * theirs.norm() + 1e-6, name


@pytest.mark.parametrize("sources", [1024, 48])
def test_an_encoder_with_neighbourhoods_equals_the_straightforward_one_in_double_precision(sources, monkeypatch):
    monkeypatch.setattr(neighbourhoods, "SOURCES", sources)
    encoder = PointNet(16, (16, 32, 64), head_widths=(32,), neighbourhoods=3).double()
    x = torch.rand(4, 160, 3, dtype=torch.float64) - 0.5
    found = []
    for form in (encoder, references.PlainPointNet(encoder)):
        encoder.zero_grad()
        posterior = form(x)
        (posterior.mean.square().sum() + posterior.stddev.sum()).backward()
        found.append([posterior.mean, posterior.stddev, *(weight.grad for weight in encoder.parameters())])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("template", TEMPLATES)
class TestEveryTemplate:
    def test_decodes_any_number_of_points(self, template):
        decoder = Folding(4, points=100, width=16, template=template)
        codes = torch.randn(5, 2, 4)
        assert decoder(codes).mean.shape == (5, 2, 100, 3)
        assert decoder.decode(codes, points=37).shape == (5, 2, 37, 3)
        with pytest.raises(InputError, match="at least 1"):
            decoder.decode(codes, points=0)

    def test_same_points_every_time_and_none_twice(self, template):
        points = TEMPLATES[template](200)
        assert torch.equal(points, TEMPLATES[template](200))
        assert torch.pdist(points).min() > 1e-3


def test_templates_are_what_they_are_called():
    torch.testing.assert_close(sphere(300).norm(dim=1), torch.ones(300))
    assert sphere(300).mean(0).abs().max() < 0.01
    assert plane(49).min() == -1 and plane(49).max() == 1 and len(plane(49).unique(dim=0)) == 49
    assert plane(50).abs().max() <= 1 and plane(1).shape == (1, 2)


def test_unknown_names_are_refused_with_the_nearest():
    for build in (
        lambda: PointNet(norm="bacth"),
        lambda: Folding(template="spere"),
        lambda: Folding(likelihood="chanfer"),
    ):
        with pytest.raises(InputError, match="did you mean"):
            build()


def test_decoding_without_gradient_keeps_no_hidden_layer(monkeypatch):
    decoder, kept = Folding(4, points=25, width=16), []
    forward = _Fold.forward
    monkeypatch.setattr(_Fold, "forward", lambda ctx, keep, *rest: kept.append(keep) or forward(ctx, keep, *rest))
    decoder.decode(torch.randn(2, 4))
    with torch.inference_mode():
        decoder.decode(torch.randn(2, 4))
    assert kept == [True, True, False, False]


def test_networks_work_in_double_precision_and_on_no_cloud_at_all():
    network, fold = SharedNetwork((8, 12), "layer").double(), Folding(4, points=25, width=16).folds[1].double()
    points = torch.randn(2, 3, 30, dtype=torch.float64).mT.requires_grad_()  # not contiguous
    assert torch.autograd.gradcheck(lambda x: fold(torch.ones(2, 4, dtype=torch.float64), x), points, fast_mode=True)
    assert torch.autograd.gradcheck(network, points, fast_mode=True)
    assert PointNet(6, (8, 16))(torch.randn(0, 5, 3)).mean.shape == (0, 6)
    assert Folding(6, points=25, width=16).decode(torch.randn(0, 6)).shape == (0, 25, 3)


def test_a_decoder_of_doubles_gives_doubles():
    decoder = Folding(4, points=25, width=16).double()
    assert decoder.decode(torch.zeros(2, 4, dtype=torch.float64)).dtype == torch.float64
    assert decoder.to(torch.bfloat16).decode(torch.zeros(2, 4)).dtype == torch.float32
