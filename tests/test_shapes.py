"""The embedded dataset: closed surfaces that stand upright, no two alike, the same ones for the same seed."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull, Delaunay
from trimesh.proximity import closest_point_naive

from crvae3d.datasets import shapes
from crvae3d.errors import InputError

EACH = 6
TALL = ("bottle", "guitar")
FLAT = ("aeroplane", "car")
STANDING = ("armchair", "bed", "bottle", "cabinet", "car", "chair", "cup", "shelf", "sofa", "stool", "table", "vase")


@pytest.fixture(scope="module")
def built() -> dict[str, list[trimesh.Trimesh]]:
    """A few shapes of every category."""
    groups = {name: [] for name in shapes.CATEGORIES}
    for name, _, mesh in shapes.meshes("train", EACH):
        groups[name.rsplit("_", 1)[0]].append(mesh)
    return groups


@pytest.fixture(scope="module")
def sampled():
    return {split: shapes.clouds(split, EACH, points=512, progress=False) for split in ("train", "test")}


def proportions(mesh: trimesh.Trimesh) -> np.ndarray:
    """What a shape is whatever its size: its box and its area, by its largest extent."""
    return np.append(mesh.extents, np.sqrt(mesh.area)) / mesh.extents.max()


@pytest.mark.parametrize("category", shapes.CATEGORIES)
def test_shapes_are_closed_surfaces(built, category: str) -> None:
    for mesh in built[category]:
        assert np.isfinite(mesh.vertices).all()
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
        assert mesh.area_faces.min() > 1e-12 * mesh.area
        assert mesh.bounds[0, 2] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("category", shapes.CATEGORIES)
def test_no_two_shapes_of_a_class_are_alike(built, category: str) -> None:
    rows = np.stack([proportions(mesh) for mesh in built[category]])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=-1)[~np.eye(EACH, dtype=bool)]
    assert apart.min() > 0.003
    assert np.median(apart) > 0.05
    assert len({len(mesh.faces) for mesh in built[category]}) > 1, "the same parts every time"


@pytest.mark.parametrize("category", STANDING)
def test_shapes_stand_without_falling_over(built, category: str) -> None:
    for mesh in built[category]:
        ground = mesh.vertices[mesh.vertices[:, 2] < 0.03 * mesh.extents[2], :2]
        foot = Delaunay(ground[ConvexHull(ground).vertices])
        middle = (mesh.triangles_center * mesh.area_faces[:, None]).sum(axis=0) / mesh.area
        assert foot.find_simplex(middle[:2]) >= 0


def test_shapes_are_upright(built) -> None:
    extents = {name: np.stack([mesh.extents for mesh in group]) for name, group in built.items()}
    for name in TALL:
        assert (extents[name][:, 2] > 1.5 * extents[name][:, :2].max(axis=1)).all()
    for name in FLAT:
        assert (extents[name][:, 2] < 0.6 * extents[name][:, 1]).all()
    assert (extents["bed"][:, :2].max(axis=1) > extents["bed"][:, 2]).all()
    assert (extents["sofa"][:, 0] > extents["sofa"][:, 2]).all()
    assert (extents["car"][:, 1] > extents["car"][:, 0]).all()


@pytest.mark.parametrize("category", ["chair", "armchair", "sofa", "aeroplane"])
def test_shapes_face_the_same_way(built, category: str) -> None:
    """What rises highest, the back of a seat and the fin of a plane, is behind the middle."""
    for mesh in built[category]:
        highest = mesh.vertices[mesh.vertices[:, 2] > 0.9 * mesh.extents[2], 1]
        assert highest.mean() > mesh.bounds[:, 1].mean()


def test_bottles_have_necks(built) -> None:
    for mesh in built["bottle"]:
        depths = [np.ptp(mesh.vertices[mesh.vertices[:, 2] > level * mesh.extents[2], 1]) for level in (0, 0.98)]
        assert depths[1] < depths[0]


def test_same_seed_same_clouds(sampled) -> None:
    again = shapes.clouds("train", EACH, points=512, progress=False)
    assert np.array_equal(again.points, sampled["train"].points)
    assert np.array_equal(again.mesh_center, sampled["train"].mesh_center)
    other = shapes.clouds("train", 1, points=512, seed=1, progress=False)
    assert not any(np.array_equal(other.points[k], again.points[k * EACH]) for k in range(len(other)))


def test_a_shape_does_not_depend_on_how_many_there_are(sampled) -> None:
    few = shapes.clouds("test", 2, points=512, progress=False)
    place = {name: index for index, name in enumerate(sampled["test"].ids)}
    many = sampled["test"].select(np.array([place[name] for name in few.ids]))
    assert np.array_equal(few.points, many.points)
    assert np.array_equal(few.labels, many.labels)


def test_train_and_test_are_disjoint(sampled) -> None:
    assert not set(sampled["train"].ids) & set(sampled["test"].ids)
    areas = [{round(mesh.area, 9) for _, _, mesh in shapes.meshes(split, 3)} for split in ("train", "test")]
    assert len(areas[0]) == len(areas[1]) == 3 * len(shapes.CATEGORIES)
    assert not areas[0] & areas[1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_are_balanced_and_named(sampled, split: str) -> None:
    clouds = sampled[split]
    assert clouds.class_names == tuple(shapes.CATEGORIES)
    assert np.bincount(clouds.labels).tolist() == [EACH] * len(clouds.class_names)
    assert len(set(clouds.ids)) == len(clouds)
    names = [name.rsplit("_", 1)[0] for name in clouds.ids]
    assert names == [clouds.class_names[label] for label in clouds.labels]


def test_clouds_fill_the_unit_sphere(sampled) -> None:
    clouds = sampled["train"]
    assert clouds.points.dtype == np.int16
    coordinates = clouds.coordinates()
    assert coordinates.mean(dim=1).abs().max() < 1e-4
    radii = coordinates.norm(dim=-1).max(dim=1).values
    assert radii.numpy() == pytest.approx(1, abs=1e-4)


def test_points_lie_on_the_surface_in_its_own_units(built, sampled) -> None:
    clouds = sampled["train"]
    flat = [mesh for group in built.values() for mesh in group]
    for index in range(0, len(clouds), EACH):
        scale = clouds.mesh_scale[index]
        original = clouds[index].numpy()[:64] * scale + clouds.mesh_center[index]
        _, distance, _ = closest_point_naive(flat[index], original)
        assert distance.max() < 1e-4 * scale, clouds.ids[index]


def test_points_are_drawn_by_area(built, sampled) -> None:
    """The mean of the points is the centroid of the surface, up to the error of a mean of 512."""
    clouds = sampled["train"]
    for index, mesh in enumerate(mesh for group in built.values() for mesh in group):
        corners = mesh.vertices[mesh.faces]
        weights, middle = mesh.area_faces / mesh.area, mesh.triangles_center
        centroid = weights @ middle
        # The second moment of a triangle about its own middle is the mean square of its corners' offsets over 4.
        within = ((corners - middle[:, None]) ** 2).mean(axis=1) / 4
        deviation = np.sqrt(weights @ ((middle - centroid) ** 2 + within) / 512)
        assert (np.abs(clouds.mesh_center[index] - centroid) < 5 * deviation).all(), clouds.ids[index]


def test_export_writes_the_layout_of_modelnet(tmp_path) -> None:
    shapes.export(tmp_path, per_class_train=2, per_class_test=1, seed=3, progress=False)
    for split, count in (("train", 2), ("test", 1)):
        for name, label, mesh in shapes.meshes(split, count, seed=3):
            file = tmp_path / list(shapes.CATEGORIES)[label] / split / f"{name}.off"
            read = trimesh.load_mesh(file)
            assert read.area == pytest.approx(mesh.area, rel=1e-5)
            assert read.bounds == pytest.approx(mesh.bounds, abs=1e-5)
    assert len(list(tmp_path.rglob("*.off"))) == 3 * len(shapes.CATEGORIES)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shapes.build("chiar"), "chair"),
        (lambda: shapes.clouds("tset", 1), "test"),
        (lambda: shapes.clouds("train", 0), "per_class"),
        (lambda: shapes.clouds("train", 5001), "5000"),
        (lambda: shapes.clouds("train", 1, points=1), "points"),
        (lambda: shapes.clouds("train", 1, seed=-1), "seed"),
        (lambda: next(shapes.meshes("validation")), "train"),
    ],
)
def test_wrong_input_says_what_to_do(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_classes_can_be_told_apart_but_not_all(sampled) -> None:
    """The nearest neighbour by an occupancy histogram is right far more often than by chance, and not always."""
    train, test = (_occupancy(sampled[split]) for split in ("train", "test"))
    nearest = np.linalg.norm(test[:, None] - train[None], axis=-1).argmin(axis=1)
    accuracy = (sampled["train"].labels[nearest] == sampled["test"].labels).mean()
    assert 0.5 < accuracy < 0.97


def _occupancy(clouds, cells: int = 8) -> np.ndarray:
    places = np.clip((clouds.coordinates().numpy() + 1) * cells / 2, 0, cells - 1).astype(int) @ (cells**2, cells, 1)
    return np.sqrt(np.stack([np.bincount(row, minlength=cells**3) for row in places]))
