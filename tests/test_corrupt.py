"""Corruptions: the contract of every family, and what each one does, exactly."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation
from scipy.special import binom
from torch import Tensor
from torch_geometric.data import Data

from crvae3d.errors import InputError
from crvae3d.points import density, distort, noise, occlude
from crvae3d.points.batch import Ragged, dense, ragged
from crvae3d.points.corrupt import CORRUPTIONS, MODELNET40_C, OWN, STRENGTHS
from crvae3d.points.noise import Outliers

FAMILIES = list(CORRUPTIONS)
VIEWPOINTS = ("occlusion", "lidar")
EVERY = [(family, strength) for family in FAMILIES for strength in (1, 5)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def surfaces(shapes: int, size: int) -> Tensor:
    """Points of the unit sphere's surface."""
    return torch.nn.functional.normalize(torch.randn(shapes, size, 3), dim=-1)


def corrupted(family: str, strength: int, x: object, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    return dense(CORRUPTIONS[family](strength)(x, generator=seeded(seed)))


def test_all_of_the_points_stay_where_they_are():
    data = Data(pos=torch.randn(30, 3), normal=torch.arange(30))
    thinned = density.Thin(1.0)(data, generator=seeded())
    assert torch.equal(thinned.pos, data.pos) and torch.equal(thinned.normal, data.normal)


def sizes(points: Tensor, mask: Tensor | None) -> list[int]:
    return [points.shape[1]] * len(points) if mask is None else mask.sum(1).tolist()


def clouds_of(points: Tensor, mask: Tensor | None) -> list[Tensor]:
    return list(points) if mask is None else [cloud[there] for cloud, there in zip(points, mask, strict=True)]


@pytest.mark.parametrize(("family", "strength"), EVERY)
class TestEveryFamily:
    def test_is_a_function_of_the_generator(self, family, strength):
        x = surfaces(4, 100)
        before = x.clone()
        points, mask = corrupted(family, strength, x)
        torch.manual_seed(99)
        again, same_mask = corrupted(family, strength, x)
        assert torch.equal(points, again) and (mask is None or torch.equal(mask, same_mask)) and torch.equal(x, before)
        other, other_mask = corrupted(family, strength, x, seed=1)
        assert not torch.equal(points, other) or not torch.equal(mask, other_mask)

    def test_is_the_same_under_autocast(self, family, strength):
        x = surfaces(4, 100)
        with torch.autocast("cpu", torch.bfloat16):
            points, mask = corrupted(family, strength, x)
        same, same_mask = corrupted(family, strength, x)
        assert torch.equal(points, same) and (mask is None or torch.equal(mask, same_mask))

    def test_gives_a_finite_batch_and_draws_anew_for_every_shape(self, family, strength):
        points, mask = corrupted(family, strength, surfaces(1, 100).expand(6, -1, -1))
        assert points.shape[0] == 6 and points.shape[2] == 3 and points.dtype == torch.float32
        assert mask is None or (mask.shape == points.shape[:2] and mask.any(1).all() and (points[~mask] == 0).all())
        clouds = clouds_of(points, mask)
        assert all(cloud.isfinite().all() for cloud in clouds)
        assert any(cloud.shape != clouds[0].shape or not torch.equal(cloud, clouds[0]) for cloud in clouds)

    def test_does_not_see_what_stands_in_the_padding(self, family, strength):
        """Noughts or far points there: the same clouds come out, each with as many points as its own size asks for."""
        clean = ragged([*surfaces(1, 9), *surfaces(1, 300)])
        filled = Ragged(torch.where(clean.mask[..., None], clean.points, 7.0), clean.mask)
        one, other = (clouds_of(*corrupted(family, strength, x)) for x in (clean, filled))
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) and a.norm(dim=-1).max() < 3
        if family not in VIEWPOINTS:
            alone = [corrupted(family, strength, clean.points[i, :size][None]) for i, size in ((0, 9), (1, 300))]
            assert [len(cloud) for cloud in one] == [sizes(*cloud)[0] for cloud in alone]

    def test_bears_a_cloud_of_a_single_point(self, family, strength):
        assert min(sizes(*corrupted(family, strength, torch.ones(3, 1, 3) / 2))) >= 1
        assert min(sizes(*corrupted(family, strength, ragged([torch.ones(1, 3) / 2, *surfaces(1, 9)])))) >= 1


def moved(x: Tensor, points: Tensor, mask: Tensor | None) -> float:
    return (points - x).norm(dim=-1).mean().item()


def lost(x: Tensor, points: Tensor, mask: Tensor | None) -> float:
    return -np.mean(sizes(points, mask))


def gained(x: Tensor, points: Tensor, mask: Tensor | None) -> float:
    return np.mean(sizes(points, mask))


def crowded(x: Tensor, points: Tensor, mask: Tensor | None) -> float:
    """Neighbours of a point within 0.15, on average."""
    return (torch.cdist(points, points) < 0.15).float().mean().item()


SEVERITY = (
    dict.fromkeys(("azimuth", "so3", "scale", "outliers", "uniform", "gaussian", "impulse"), moved)
    | dict.fromkeys(("rotation", "shear", "distortion", "distortion_rbf", "distortion_inverse_rbf"), moved)
    | dict.fromkeys(("thin", "crop", "cutout", "density_decrease"), lost)
    | dict.fromkeys(("upsampling", "background"), gained)
    | {"density_increase": crowded}
)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in VIEWPOINTS])
def test_each_strength_is_harder_than_the_one_before(family):
    x = surfaces(16, 1024)
    found = [SEVERITY[family](x, *corrupted(family, strength, x)) for strength in STRENGTHS]
    assert all(weak < strong for weak, strong in zip(found, found[1:], strict=False)), found


@pytest.mark.parametrize("family", FAMILIES)
def test_other_strengths_are_refused(family):
    for strength in (0, 6, -1, 2.5, "3", None):
        with pytest.raises(InputError, match="one of 1, 2, 3, 4 and 5"):
            CORRUPTIONS[family](strength)


def test_the_benchmark_has_fifteen_families_and_none_is_here_twice():
    assert (
        len(MODELNET40_C) == 15 and not set(OWN) & set(MODELNET40_C) and set(FAMILIES) == set(OWN) | set(MODELNET40_C)
    )


def matrices(transform: object, shapes: int) -> Tensor:
    """The linear map of each shape, by what becomes of the axes' unit vectors: y = matrix @ x."""
    return transform(torch.eye(3).expand(shapes, 3, 3), generator=seeded()).mT


def degrees_of(matrix: Tensor) -> Tensor:
    """The angles of rotations, after making sure that they are some."""
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).expand_as(matrix), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(len(matrix)), atol=1e-5, rtol=0)
    return torch.tensor(Rotation.from_matrix(matrix.numpy()).magnitude()).rad2deg()


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("family", ["azimuth", "so3", "rotation"])
def test_rotations_stay_within_their_angles_and_use_them(family, strength):
    matrix = matrices(CORRUPTIONS[family](strength), 600)
    degrees = degrees_of(matrix)
    if family == "rotation":
        angles = np.abs(Rotation.from_matrix(matrix.numpy()).as_euler("xyz", degrees=True))
        middle = (2.5, 5, 7.5, 10, 15)[strength - 1]
        assert abs(angles - middle).max() <= 2.51 and np.ptp(angles) > 4.5
        return
    assert degrees.max() <= 36.01 * strength and degrees.max() > 0.95 * 36 * strength
    turned_axis = (matrix[:, 2, 2] - 1).abs().max()
    assert turned_axis < 1e-6 if family == "azimuth" else turned_axis > 0.1


def test_so3_has_an_even_angle_about_axes_of_every_direction_and_at_five_covers_so3():
    matrix = matrices(CORRUPTIONS["so3"](2), 4000)
    turns = torch.tensor(Rotation.from_matrix(matrix.double().numpy()).as_rotvec())
    angle = turns.norm(dim=1)
    assert angle.mean().rad2deg().item() == pytest.approx(36, abs=1)
    axis = turns / angle[:, None]
    assert axis.mean(0).abs().max() < 0.04
    torch.testing.assert_close(axis.T @ axis / len(axis), torch.eye(3).double() / 3, atol=0.02, rtol=0)
    # A rotation by an even angle has E[(1 + 2 cos)^2] = 3; under the even measure of SO(3) it is 1.
    trace = matrices(CORRUPTIONS["so3"](5), 20_000).diagonal(dim1=1, dim2=2).sum(1)
    assert trace.square().mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_shear_leaves_z_and_the_volume_but_for_the_product_of_two_factors(strength):
    matrix = matrices(CORRUPTIONS["shear"](strength), 500)
    torch.testing.assert_close(matrix.diagonal(dim1=1, dim2=2), torch.ones(500, 3))
    assert (matrix[:, 2, :2] == 0).all()
    factors = torch.stack([matrix[:, 0, 1], matrix[:, 0, 2], matrix[:, 1, 0], matrix[:, 1, 2]], dim=1)
    assert (factors.abs() - 0.05 * strength).abs().max() <= 0.0501 and (factors > 0).float().mean().sub(
        0.5
    ).abs() < 0.05
    assert (torch.corrcoef(factors.T) - torch.eye(4)).abs().max() < 0.2
    torch.testing.assert_close(torch.linalg.det(matrix), 1 - factors[:, 0] * factors[:, 2])
    assert (torch.linalg.det(matrix) - 1).abs().max() <= 0.0901


@pytest.mark.parametrize("strength", STRENGTHS)
def test_scale_is_one_factor_for_all_axes_as_often_up_as_down(strength):
    x = torch.rand(400, 10, 3) + 1
    factor = CORRUPTIONS["scale"](strength)(x, generator=seeded()) / x
    torch.testing.assert_close(factor, factor[:, :1, :1].expand_as(factor))
    high = 1 + 0.2 * strength
    assert 1 / high <= factor.min() * 1.001 and factor.max() <= high * 1.001 and factor.max() > 0.95 * high
    assert factor.log().mean().abs() < 0.05


@pytest.mark.parametrize(
    ("family", "left"), [("thin", (1024, 512, 256, 192, 128)), ("crop", (1843, 1638, 1434, 1229, 1024))]
)
def test_thin_and_crop_keep_exactly_their_share_of_the_shapes_own_points(family, left):
    x = surfaces(3, 2048)
    for strength, size in zip(STRENGTHS, left, strict=True):
        points, mask = corrupted(family, strength, x)
        assert mask is None and points.shape == (3, size, 3)
        after = set(map(tuple, points[1].tolist()))
        assert len(after) == size and after <= set(map(tuple, x[1].tolist()))


def test_crop_cuts_along_a_plane_and_thin_does_not():
    x = surfaces(1, 200)
    for family, apart in (("crop", True), ("thin", False)):
        points, _ = corrupted(family, 5 if apart else 1, x)
        side = np.where((x[0, :, None] == points[0]).all(-1).any(1), -1, 1)[:, None]
        plane = side * np.hstack([x[0].numpy(), np.ones((200, 1))])  # is there one with plane @ w <= -1 everywhere?
        assert linprog(np.zeros(4), plane, -np.ones(200), bounds=(None, None)).success == apart


def on_a_line(size: int) -> Tensor:
    """Points along x in order, (1, N, 3): nearest neighbours are what stands beside."""
    return torch.stack([torch.linspace(-1, 1, size), torch.zeros(size), torch.zeros(size)], dim=1)[None]


def runs(marked: Tensor) -> list[int]:
    """The lengths of runs of True."""
    edges = torch.diff(marked.int(), prepend=torch.zeros(1), append=torch.zeros(1))
    return ((edges == -1).nonzero() - (edges == 1).nonzero())[:, 0].tolist()


@pytest.mark.parametrize("patches", [2, 5, 10])
def test_cutout_makes_as_many_holes_at_most_each_of_neighbours(patches):
    for seed in range(5):
        _, left = density.Cutout(patches)(on_a_line(1024), generator=seeded(seed))
        holes = runs(~left[0])
        assert sum(holes) == 30 * patches and len(holes) <= patches


def test_density_decreases_in_a_patch_and_nowhere_else():
    for seed in range(5):
        _, left = density.LocallySparser(1)(on_a_line(1024), generator=seeded(seed))
        gone = (~left[0]).nonzero()[:, 0]
        assert len(gone) == 75 and gone.max() - gone.min() < 100 and len(runs(~left[0])) > 5


def test_density_increases_in_patches_that_stay_whole_while_the_rest_thins():
    x = on_a_line(2048)
    for patches in (1, 3):
        points = density.LocallyDenser(patches)(x, generator=seeded())
        assert points.shape == (1, 1024, 3)
        whole = [length for length in runs((x[0, :, None, 0] == points[0, :, 0]).any(1)) if length >= 100]
        assert 1 <= len(whole) <= patches and sum(whole) >= 100 * patches


@pytest.mark.parametrize("strength", STRENGTHS)
def test_outliers_are_an_exact_share_and_fill_the_ball(strength):
    x = 9 + torch.zeros(4, 2000, 3)
    points, _ = corrupted("outliers", strength, x)
    new = (points != x).any(-1)
    assert new.sum(1).tolist() == [200 * strength] * 4
    radius = points[new].norm(dim=-1)
    assert radius.max() <= 1 and (radius**3).mean().item() == pytest.approx(0.5, abs=0.04)
    assert points[new].mean(0).abs().max() < 0.05


def test_each_shape_has_a_share_of_outliers_of_its_own_between_the_two():
    x = 9 + torch.zeros(3000, 100, 3)
    share = (Outliers(0.4, fewest=0.1)(x, generator=seeded()) != x).any(-1).double().mean(1)
    assert share.min() == 0.1 and share.max() == 0.4
    assert share.mean().item() == pytest.approx(0.25, abs=0.01) and share.std().item() == pytest.approx(
        0.3 / 12**0.5, rel=0.05
    )


@pytest.mark.parametrize("strength", STRENGTHS)
def test_noise_has_the_published_size(strength):
    x = surfaces(4, 2000)
    move = corrupted("uniform", strength, x)[0] - x
    assert move.abs().max() <= 0.01 * strength + 1e-6
    assert move.std().item() == pytest.approx(0.01 * strength / math.sqrt(3), rel=0.03)
    move = corrupted("gaussian", strength, x)[0] - x
    assert move.std().item() == pytest.approx((0.01, 0.015, 0.02, 0.025, 0.03)[strength - 1], rel=0.03)
    move = corrupted("impulse", strength, x)[0] - x
    hit = (move != 0).any(-1)
    assert hit.sum(1).tolist() == [2000 // (30, 25, 20, 15, 10)[strength - 1]] * 4
    torch.testing.assert_close(move[hit].abs(), torch.full_like(move[hit], 0.1))
    assert (move[hit] > 0).float().mean(0).sub(0.5).abs().max() < 0.12


@pytest.mark.parametrize("strength", STRENGTHS)
def test_added_points_stand_beside_the_shapes_own(strength):
    x = surfaces(2, 1000)
    points, _ = corrupted("upsampling", strength, x)
    count = (200, 250, 333, 500, 1000)[strength - 1]
    assert torch.equal(points[:, :1000], x) and points.shape[1] == 1000 + count
    assert (points[:, 1000:, None] - x[:, None]).abs().amax(-1).amin(-1).max() <= 0.05 + 1e-6
    points, _ = corrupted("background", strength, x)
    added = points[:, 1000:]
    assert torch.equal(points[:, :1000], x) and added.shape[1] == 1000 // (45, 40, 35, 30, 20)[strength - 1]
    assert added.abs().max() <= 1


def test_every_point_has_one_double_at_most_and_the_background_fills_the_cube():
    x = 5.0 * torch.arange(60).reshape(1, 20, 3)
    points = noise.Upsample(2)(x, generator=seeded())
    assert len((points[0, 20:] / 15).round().unique(dim=0)) == 10
    added = noise.Background(1)(torch.zeros(5, 2000, 3), generator=seeded())[:, 2000:].flatten(0, 1)
    assert added.mean(0).abs().max() < 0.03
    torch.testing.assert_close(added.T @ added / len(added), torch.eye(3) / 3, atol=0.02, rtol=0)


def at_control_points_and_elsewhere(transform: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacements of the control points, other points, and displacements there: all of one and the same draw."""
    control, other = distort.lattice().numpy(), np.random.default_rng(0).uniform(-1, 1, (60, 3))
    x = torch.tensor(np.concatenate([control, other]))[None]
    move = (transform(x, generator=seeded()) - x)[0].numpy()
    return move[:125], other, move[125:]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_free_form_deformation_is_a_polynomial_of_its_control_points(strength):
    """Found from 125 points by an independent definition of the basis, the control points tell the way of all others."""
    move, other, there = at_control_points_and_elsewhere(CORRUPTIONS["distortion"](strength))

    def basis(x: np.ndarray) -> np.ndarray:
        t = (x[:, :, None] + 1) / 2
        k = np.arange(5)
        x, y, z = np.moveaxis(binom(4, k) * t**k * (1 - t) ** (4 - k), 1, 0)
        return np.einsum("ni,nj,nk->nijk", x, y, z).reshape(len(x), 125)

    control = np.linalg.solve(basis(distort.lattice().numpy()), move)
    np.testing.assert_allclose(basis(other) @ control, there, atol=1e-6)
    assert 0.95 * 0.2 * strength < np.abs(control).max() <= 0.2 * strength + 1e-6
    assert control.std() == pytest.approx(0.2 * strength / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("strength", [1, 5])
@pytest.mark.parametrize(("family", "kernel"), [("rbf", "multiquadric"), ("inverse_rbf", "inverse_multiquadric")])
def test_radial_basis_functions_interpolate_as_scipys(family, kernel, strength):
    move, other, there = at_control_points_and_elsewhere(CORRUPTIONS[f"distortion_{family}"](strength))
    np.testing.assert_allclose(np.linalg.norm(move, axis=1), 0.025 * strength, rtol=1e-5)
    theirs = RBFInterpolator(distort.lattice().numpy(), move, kernel=kernel, epsilon=2, degree=1)
    np.testing.assert_allclose(theirs(other), there, atol=1e-6)
    assert np.abs(move.mean(0)).max() < 0.25 * 0.025 * strength  # directions of every kind


def eyes(shapes: int, distance: float, azimuth: float, elevation: float) -> Tensor:
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = torch.tensor([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])
    return (distance * eye).expand(shapes, 3)


@pytest.mark.parametrize("size", [512, 2048])
def test_of_a_sphere_the_cap_towards_the_eye_is_seen(size):
    x = surfaces(20, size)
    eye = eyes(20, 3, 70, 45)
    seen = occlude.visible(x, None, eye)
    cap = (x @ eye[0]) > 1  # x . (eye - x) > 0 on the unit sphere
    assert seen[cap].float().mean() > 0.75 and seen[~cap].float().mean() < 0.1
    assert seen[(x @ eye[0]) > 2].float().mean() > 0.98 and seen[(x @ eye[0]) < -1].float().mean() < 0.03


def test_a_wall_hides_what_is_behind_it_and_not_what_is_before_or_beside_it():
    eye = eyes(1, 3, 0, 0)  # on y, looking along -y
    wall = torch.rand(1, 900, 3) * torch.tensor([1.2, 0, 1.2]) - torch.tensor([0.6, 0.0, 0.6])
    thing = 0.2 * torch.rand(1, 60, 3) - 0.1
    for place, shown in (((0, -0.5, 0), False), ((0, 0.5, 0), True), ((0.8, -0.2, 0), True)):
        seen = occlude.visible(torch.cat([wall, thing * 0.1 + torch.tensor(place)], dim=1), None, eye)
        assert (seen[0, 900:].float().mean() > 0.9) == shown and (seen[0, 900:].any().item()) == shown
        assert seen[0, :900].float().mean() > 0.95 or place[1] > 0


@pytest.mark.parametrize("family", VIEWPOINTS)
def test_each_strength_looks_from_a_fifth_of_the_circle_of_its_own(family):
    x = surfaces(40, 1500)
    for strength in STRENGTHS:
        points, mask = corrupted(family, strength, x)
        middle = points.sum(1) / mask.sum(1, keepdim=True)
        off = torch.atan2(-middle[:, 0], middle[:, 1]).rad2deg() - 72 * strength
        off = (off + 180) % 360 - 180
        assert off.abs().max() < 36 + 12 and off.std() > 10 and (middle[:, 2] > 0.1).all()
        if family == "occlusion":
            own = [set(map(tuple, cloud.tolist())) for cloud in x[:3]]
            assert all(set(map(tuple, c.tolist())) <= o for c, o in zip(clouds_of(points, mask), own, strict=False))


def test_lidar_moves_what_is_near_a_scan_line_onto_it(monkeypatch):
    monkeypatch.setattr(occlude, "FIFTH", 0.0)
    x = surfaces(6, 1500)
    eye = eyes(6, 5, 100, 22.5)
    points, mask = occlude.Lidar(100)(x, generator=seeded())
    ray = (points - eye[:, None])[mask]
    polar = torch.atan2(ray[:, :2].norm(dim=1), ray[:, 2]).rad2deg()
    assert (polar - polar.floor() - 0.5).abs().max() < 1e-3 and len(polar.floor().unique()) > 12
    move = (points - x).norm(dim=-1)[mask]
    assert 0.015 < move.max() < 6 * math.radians(0.26)
    distance = (x - eye[:, None]).norm(dim=-1)[mask]
    torch.testing.assert_close(ray.norm(dim=1), distance, rtol=1e-4, atol=0)
    assert mask.sum() / occlude.visible(x, None, eye).sum() == pytest.approx(0.5, abs=0.05)
