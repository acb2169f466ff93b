"""The laws of every transformation, and what each one promises."""

import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import NormalizeScale, RandomFlip, RandomJitter

import crvae3d
from crvae3d.errors import InputError
from crvae3d.points import augment
from crvae3d.points.batch import dense, ragged
from crvae3d.points.normalize import NormalizeSphere
from crvae3d.points.thinning import padded_to

ALL = [
    augment.Identity(),
    augment.Rotate(180),
    augment.Rotate(30, "x"),
    augment.Rotate(90, (1.0, 1.0, 0.0)),
    augment.RotateSO3(),
    augment.Jitter(0.02, 0.05),
    augment.Scale(0.8, 1.25),
    augment.Scale(0.5, 2.0, anisotropic=True),
    augment.Translate(0.2),
    augment.Subset(20),
    augment.Subset(40, fewest=5),
    augment.DropPoints(0.5),
    augment.Crop(0.5),
    augment.FromPyG(RandomJitter(0.1)),
    augment.Compose([augment.RotateSO3(), RandomFlip(0), augment.Crop(0.5), augment.Subset(20)]),
    NormalizeSphere(),
]
DRAWS_NOTHING = (augment.Identity, NormalizeSphere)
RIGID = [t for t in ALL if "Rotate" in repr(t) and not isinstance(t, augment.Compose)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("transform", ALL, ids=repr)
class TestEveryTransformation:
    def test_is_a_function_of_the_generator(self, transform):
        x = torch.randn(6, 50, 3)
        before = x.clone()
        one, same = (dense(transform(x, generator=seeded(4))) for _ in range(2))
        torch.manual_seed(99)
        later = dense(transform(x, generator=seeded(4)))
        for other in (same, later):
            assert torch.equal(one[0], other[0]) and (one[1] is None or torch.equal(one[1], other[1]))
        assert torch.equal(x, before)
        if not isinstance(transform, DRAWS_NOTHING):
            changed = dense(transform(x, generator=seeded(5)))
            assert changed[0].shape != one[0].shape or not torch.equal(changed[0], one[0])

    def test_draws_anew_for_every_shape(self, transform):
        if isinstance(transform, DRAWS_NOTHING):
            pytest.skip("draws nothing")
        x = torch.randn(1, 50, 3).expand(8, -1, -1)
        points, mask = dense(transform(x, generator=seeded()))
        assert any(not torch.equal(points[0], points[i]) for i in range(1, 8))

    def test_is_the_same_under_autocast(self, transform):
        x = torch.randn(3, 40, 3)
        with torch.autocast("cpu", torch.bfloat16):
            points, mask = dense(transform(x, generator=seeded()))
        same, same_mask = dense(transform(x, generator=seeded()))
        assert torch.equal(points, same) and (mask is None or torch.equal(mask, same_mask))

    def test_moves_no_padding_into_the_shape(self, transform):
        clouds = [torch.randn(30, 3), torch.randn(50, 3)]
        padded = ragged(clouds)
        padded.points[~padded.mask] = torch.nan
        points, mask = dense(transform(padded, generator=seeded()))
        assert points[mask if mask is not None else ...].isfinite().all()
        sizes = [points.shape[1]] * 2 if mask is None else mask.sum(1).tolist()
        assert all(1 <= size <= len(cloud) for size, cloud in zip(sizes, clouds, strict=True))

    def test_takes_pyg_data_and_batches(self, transform):
        data = Data(pos=torch.randn(40, 3), y=torch.tensor([3]), normal=torch.randn(40, 3))
        kept = data.pos.clone()
        assert transform(data).pos.shape[1] == 3 and torch.equal(data.pos, kept)
        batch = transform(
            Batch.from_data_list([data, Data(pos=torch.randn(30, 3), y=data.y, normal=torch.randn(30, 3))])
        )
        assert batch.num_graphs == 2 and batch.y.tolist() == [3, 3]
        assert "normal" not in batch or len(batch.normal) == len(batch.pos)

    def test_prints_its_arguments(self, transform):
        assert all(
            str(value) in repr(transform)
            for name, value in vars(transform).items()
            if name != "transforms" and name[0] != "_"
        )


@pytest.mark.parametrize("transform", RIGID, ids=repr)
def test_rotations_preserve_distances_and_handedness(transform):
    x = torch.randn(5, 12, 3)
    y = transform(x, generator=seeded())
    torch.testing.assert_close(torch.cdist(y, y), torch.cdist(x, x), rtol=1e-4, atol=1e-4)
    matrix = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(5), rtol=1e-4, atol=1e-4)


def test_rotation_about_an_axis_leaves_it_and_stays_within_its_degrees():
    x = torch.randn(200, 12, 3)
    y = augment.Rotate(30)(x, generator=seeded())
    torch.testing.assert_close(y[..., 2], x[..., 2])
    angle = torch.atan2(y[:, 0, 1], y[:, 0, 0]) - torch.atan2(x[:, 0, 1], x[:, 0, 0])
    angle = torch.rad2deg((angle + math.pi) % (2 * math.pi) - math.pi)
    assert angle.abs().max() <= 30.01 and angle.max() > 25 and angle.min() < -25


def test_so3_is_uniform():
    """Under the uniform distribution a turned vector is uniform on the sphere: mean 0, covariance I / 3; and so is the trace."""
    x = torch.eye(3).expand(20_000, 3, 3)
    y = augment.RotateSO3()(x, generator=seeded())
    assert y.mean(0).abs().max() < 0.02
    torch.testing.assert_close(y[:, 0].T @ y[:, 0] / len(y), torch.eye(3) / 3, atol=0.01, rtol=0)
    assert y.diagonal(dim1=1, dim2=2).sum(1).square().mean().item() == pytest.approx(1, abs=0.05)


def test_scale_multiplies_by_one_factor_or_by_three():
    x = torch.rand(300, 10, 3) + 1
    for anisotropic in (False, True):
        factor = augment.Scale(0.5, 2.0, anisotropic)(x, generator=seeded()) / x
        torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
        assert (factor.amin(2).allclose(factor.amax(2), rtol=1e-4)) != anisotropic
        assert 0.5 <= factor.min() < 0.52 and 1.9 < factor.max() <= 2
        assert factor.log().mean().abs() < 0.05  # as often larger as smaller


def test_jitter_has_its_deviation_and_its_clip():
    move = augment.Jitter(0.02, 0.05)(torch.zeros(10, 5000, 3), generator=seeded())
    assert move.std().item() == pytest.approx(0.02, rel=0.03) and move.abs().max() <= 0.05


def test_subset_takes_points_that_were_there_once_each():
    x = torch.randn(3, 50, 3)
    y = augment.Subset(20)(x, generator=seeded())
    assert y.shape == (3, 20, 3) and (torch.cdist(y, x).amin(2) < 1e-3).all()
    assert len(y[0].unique(dim=0)) == 20
    assert torch.equal(augment.Subset(50)(x), x)


def test_subset_of_a_drawn_size_has_every_size_and_small_ones_as_often():
    subset = augment.Subset(64, fewest=4)
    sizes = torch.tensor([subset(torch.randn(2, 80, 3), generator=seeded(n)).shape[1] for n in range(600)])
    assert sizes.min() == 4 and 60 <= sizes.max() <= 64
    octaves = sizes.log2().long().clamp(max=5).bincount(minlength=6)[2:] / 600  # of 4, 8, 16 and 32 points on
    assert ((octaves - 0.25).abs() < 0.08).all()


def test_a_gpu_pads_what_a_subset_of_a_drawn_size_leaves_out():
    clouds = ragged([torch.ones(5, 3), torch.ones(50, 3), 2 * torch.ones(30, 3)])
    for mask in (None, clouds.mask):
        points, kept = padded_to(torch.tensor(20.0), clouds.points, mask, torch.rand(3, 50))
        assert points.shape == (3, 50, 3) and (points[~kept] == 0).all()
        assert kept.sum(1).tolist() == ([20, 20, 20] if mask is None else [5, 20, 20])
        assert mask is None or not (kept & ~mask).any()
    rank = torch.rand(3, 50)
    kept = padded_to(torch.tensor(20.0), clouds.points, None, rank)[1]
    assert all(of[there].max() < of[~there].min() for of, there in zip(rank, kept, strict=True))


def test_subset_refuses_more_points_at_least_than_at_most():
    with pytest.raises(InputError, match="fewest must lie in"):
        augment.Subset(10, fewest=11)


def test_subset_of_a_padded_shape_takes_no_padding():
    points, mask = augment.Subset(20)(ragged([torch.ones(5, 3), torch.ones(50, 3)]), generator=seeded())
    assert mask.sum(1).tolist() == [5, 20] and (points[mask] == 1).all()


def test_faces_and_edges_go_with_the_points_that_they_join():
    joined = {
        "face": torch.tensor([[0], [1], [19]]),
        "edge_index": torch.tensor([[0, 1], [19, 2]]),
        "edge_attr": torch.ones(2),
    }
    mesh = Data(pos=torch.randn(20, 3), y=torch.tensor([3]), **joined)
    assert set(augment.Subset(5)(mesh).keys()) == {"pos", "y"}
    assert set(augment.Scale()(mesh).keys()) == {"pos", "y", *joined}


def test_graphs_of_pyg_keep_apart_whatever_their_sizes():
    def graph(points):
        return Data(pos=torch.randn(points, 3), normal=torch.randn(points, 3))

    for sizes in ((50, 40), (40, 50)):  # one is thinned, the other is not
        thinned = augment.Subset(45)(Batch.from_data_list([graph(size) for size in sizes]))
        assert thinned.batch.bincount().tolist() == [min(size, 45) for size in sizes] and "normal" not in thinned
    batch = torch.tensor([0] * 30 + [1] * 20)
    thinned = augment.Subset(25)(Data(pos=torch.randn(50, 3), batch=batch, normal=torch.randn(50, 3)))
    assert thinned.batch.bincount().tolist() == [25, 20] and "normal" not in thinned
    for empty in ((5, 0), (0, 5)):
        with pytest.raises(InputError, match="every graph needs a point"):
            augment.Scale()(Batch.from_data_list([graph(size) for size in empty]))
    with pytest.raises(InputError, match=r"`pos` of the shape \(points, 3\), got \(9, 2\)"):
        augment.Scale()(Data(pos=torch.randn(9, 2)))


def test_clouds_of_integers_are_moved_as_those_of_floats_are():
    x = torch.randint(-5, 5, (2, 9, 3))
    for transform in (augment.Rotate(90), augment.Scale(2.0, 2.0), augment.Translate(0.5)):
        assert torch.equal(transform(x, generator=seeded()), transform(x.double(), generator=seeded()))


@pytest.mark.parametrize(
    "make", [lambda: augment.Subset(0), lambda: augment.Jitter(clip=-0.05), lambda: augment.Translate(-1.0)]
)
def test_ranges_that_mean_nothing_are_refused(make):
    with pytest.raises(InputError, match="must be"):
        make()


def test_crop_takes_a_half_space_away_and_drop_takes_any_points():
    x = torch.randn(40, 500, 3)
    for transform, apart in ((augment.Crop(0.5), True), (augment.DropPoints(0.5), False)):
        points, mask = transform(x, generator=seeded())
        lost = 1 - mask.float().mean(1)
        assert lost.max() <= 0.5 and lost.max() > 0.4 and lost.min() < 0.1
        shift = points.sum(1) / mask.sum(1, keepdim=True) - x.mean(1)
        assert (shift.norm(dim=1)[lost > 0.3].min() > 0.25) == apart


def test_from_pyg_lends_its_seed_and_gives_the_global_generators_back():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    augment.FromPyG(RandomJitter(0.1))(torch.zeros(2, 5, 3), generator=seeded())
    assert torch.equal(torch.rand(3), expected)
    y = augment.FromPyG(NormalizeScale())(torch.randn(2, 5, 3))
    assert y.abs().max().item() == pytest.approx(1, abs=1e-4)


def test_impossible_arguments_are_refused():
    for build in (lambda: augment.Scale(0, 1), lambda: augment.DropPoints(1.0), lambda: augment.Crop(-0.1)):
        with pytest.raises(InputError):
            build()
    for axis in ("up", (0, 0, 0), (1.0, 2.0)):
        with pytest.raises(InputError, match="x, y, z"):
            augment.Rotate(axis=axis)
    x = torch.randn(4, 5, 3)
    forms = ([0, 0, 2], (0, 0, 1), "z", torch.tensor([0.0, 0, 1]))
    turned = [augment.Rotate(axis=axis)(x, generator=seeded()) for axis in forms]
    assert all(torch.equal(turned[0], other) for other in turned[1:])


def test_a_shift_is_even_along_each_axis_by_itself():
    x = torch.randn(1, 5, 3).expand(4000, -1, -1)
    shift = augment.Translate(0.3)(x, generator=seeded()) - x
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-6, rtol=0)
    shift = shift[:, 0]
    assert shift.abs().max() <= 0.3 + 1e-6 and (shift.amax(0) > 0.29).all() and (shift.amin(0) < -0.29).all()
    torch.testing.assert_close(shift.var(0), torch.full((3,), 0.3**2 / 3), rtol=0.1, atol=0)
    assert (torch.corrcoef(shift.T) - torch.eye(3)).abs().max() < 0.06


@pytest.mark.parametrize("axis", ("x", "y", "z"))
def test_a_rotation_leaves_its_own_axis_and_no_other(axis):
    place = "xyz".index(axis)
    moved = augment.Rotate(180, axis)(torch.eye(3).expand(50, 3, 3), generator=seeded())
    left = (moved - torch.eye(3)).norm(dim=-1).amax(0) < 1e-6
    assert left.tolist() == [other == place for other in range(3)]


class TestNormalizeSphere:
    def test_units_and_place_do_not_matter_and_the_farthest_point_is_at_one(self):
        x = torch.randn(4, 60, 3)
        y = NormalizeSphere()(x)
        torch.testing.assert_close(y.mean(1), torch.zeros(4, 3), atol=1e-6, rtol=0)
        torch.testing.assert_close(y.norm(dim=-1).amax(1), torch.ones(4))
        torch.testing.assert_close(NormalizeSphere()(0.5 * x.double() + 4e8), y.double(), atol=1e-6, rtol=0)

    def test_is_the_frame_of_shapes_that_are_read(self, tmp_path):
        cloud = np.random.default_rng(0).normal(size=(50, 3)) * [3, 1, 2] + 7
        np.save(tmp_path / "one.npy", cloud)
        read = crvae3d.load(tmp_path, points=50, progress=False).train.coordinates()[0]
        own = NormalizeSphere()([cloud]).points[0]
        nearest = torch.cdist(read.double(), own).min(1)  # the store's order is its own, and it rounds to 1.5e-5
        assert nearest.values.max() < 3e-5 and len(nearest.indices.unique()) == 50

    def test_padding_does_not_count_and_a_point_alone_becomes_the_origin(self):
        clouds = [torch.randn(20, 3) + 5, torch.randn(35, 3), torch.full((3, 3), 2.0)]
        padded = NormalizeSphere()(clouds)
        for cloud, points, mask in zip(clouds, *padded, strict=True):
            torch.testing.assert_close(points[mask], NormalizeSphere()(cloud[None])[0])
        assert (padded.points[2] == 0).all()
        alone = torch.tensor([0.1, 0.7, 0.3], dtype=torch.float64).expand(1, 3, 3)  # whose mean is not quite that
        assert (NormalizeSphere()(alone) == 0).all()

    @pytest.mark.parametrize("missing", [math.nan, math.inf])
    def test_a_cloud_with_points_that_are_not_finite_is_named(self, missing):
        with pytest.raises(InputError, match="cloud 1 of the batch has points that are not finite"):
            NormalizeSphere()([torch.randn(20, 3), torch.tensor([[0.0, 1, 2], [3, missing, 5]])])
