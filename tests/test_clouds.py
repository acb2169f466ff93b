"""A set of clouds: coordinates, selections, and the validation part that is carved from it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from crvae3d.datasets.clouds import Clouds, Rows, carve, same_classes
from crvae3d.errors import InputError


def labelled(shapes: int = 60, names: tuple[str, ...] = ("bed", "chair", "desk")) -> Clouds:
    draw = np.random.default_rng(0)
    points = draw.integers(-32767, 32768, (shapes, 20, 3)).astype(np.int16)
    ids = np.array([f"shape_{index}" for index in range(shapes)])
    frames = draw.normal(size=(shapes, 3)), draw.uniform(1, 9, shapes)
    return Clouds(points, ids, 1 / 32767, np.arange(shapes) % len(names), names, *frames)


def test_coordinates_are_stored_numbers_times_the_scale():
    clouds = labelled()
    expected = torch.from_numpy(clouds.points[[3, 5]].astype(np.float64) / 32767).float()
    torch.testing.assert_close(clouds.coordinates([3, 5]), expected)
    assert torch.equal(clouds[5], clouds.__getitems__([3, 5])[1]) and len(clouds) == 60
    batch = next(iter(torch.utils.data.DataLoader(clouds, batch_size=4)))
    assert torch.equal(batch, clouds.coordinates(range(4)))


def test_a_choice_from_disk_copies_nothing_and_holds_the_same(tmp_path):
    whole = labelled()
    np.save(tmp_path / "points.npy", whole.points)
    on_disk = replace(whole, points=np.load(tmp_path / "points.npy", mmap_mode="r"))
    mask = np.arange(60) % 3 == 0
    for choose in (
        lambda clouds: clouds.select(mask),
        lambda clouds: clouds.select(mask).select(np.array([4, 1])),
        lambda clouds: clouds.select(mask).first(7),
    ):
        lazy, copied = choose(on_disk), choose(whole)
        assert isinstance(lazy.points, Rows) and isinstance(lazy.points.array, np.memmap)
        assert lazy.points.shape == copied.points.shape and (lazy.ids == copied.ids).all()
        np.testing.assert_array_equal(np.asarray(lazy.points), copied.points)
        assert torch.equal(lazy.coordinates([1, 0]), copied.coordinates([1, 0]))
        assert torch.equal(lazy.coordinates(), copied.coordinates())


def test_own_units_undo_the_normalisation():
    clouds, row = labelled(), 7
    original = clouds[row].numpy() * clouds.mesh_scale[row] + clouds.mesh_center[row]
    np.testing.assert_allclose(clouds.own_units(clouds[row].numpy(), row), original)


def test_carving_is_stratified_disjoint_and_the_same_every_time():
    clouds = labelled()
    rest, validation = carve(clouds, 0.1, seed=3)
    assert sorted([*rest.ids, *validation.ids]) == sorted(clouds.ids)
    assert np.bincount(validation.labels).tolist() == [2, 2, 2]
    assert (carve(clouds, 0.1, seed=3)[1].ids == validation.ids).all()
    assert set(carve(clouds, 0.1, seed=4)[1].ids) != set(validation.ids)
    row = int(np.flatnonzero(clouds.ids == validation.ids[0])[0])
    assert torch.equal(validation[0], clouds[row]) and validation.mesh_scale[0] == clouds.mesh_scale[row]
    with pytest.raises(InputError, match="0.1 carves a tenth"):
        carve(clouds, 1.5)


def test_classes_are_matched_by_name():
    train, test = labelled(), labelled(names=("desk", "bed"))
    one, other = same_classes(train, test)
    for before, after in ((train, one), (test, other)):
        named = [before.class_names[label] for label in before.labels]
        assert [after.class_names[label] for label in after.labels] == named
    assert one.class_names == other.class_names == ("bed", "chair", "desk")


def test_columns_of_another_length_are_refused():
    with pytest.raises(InputError, match="one row a shape"):
        Clouds(np.zeros((3, 4, 3)), np.array(["a", "b"]))
    with pytest.raises(InputError, match="must have the shape"):
        Clouds(np.zeros((3, 4)), np.array(["a", "b", "c"]))


def test_rows_are_taken_as_from_an_array_and_travel_alone(tmp_path):
    whole = np.arange(60 * 4 * 3).reshape(60, 4, 3)
    np.save(tmp_path / "points.npy", whole)
    chosen = np.array([7, 3, 50])
    rows, copied = Rows(np.load(tmp_path / "points.npy", mmap_mode="r"), chosen), whole[chosen]
    keys = 1, -1, [2, 0], slice(1, None), np.array([True, False, True]), (slice(0, 2), [0, 2]), (slice(None), [0, 2])
    for key in (*keys, (slice(None), slice(2)), (1, slice(2))):
        np.testing.assert_array_equal(np.asarray(rows[key]), copied[key])
    sent = pickle.dumps(rows)
    assert len(sent) < whole.nbytes / 4
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)), copied)


def test_fewer_points_of_a_scan_in_order_are_of_all_of_it():
    heights = np.linspace(-1, 1, 1000, dtype=np.float32)
    scan = Clouds(np.stack([heights, 0 * heights, 0 * heights], axis=-1)[None].repeat(2, axis=0), np.array(["a", "b"]))
    fewer = scan.first(200)
    kept = fewer.points[0, :, 0]
    assert len(np.unique(kept)) == 200 and np.isin(kept, heights).all()
    assert np.abs(np.quantile(kept, [0.25, 0.5, 0.75]) - [-0.5, 0, 0.5]).max() < 0.2
    np.testing.assert_array_equal(fewer.points, scan.first(200).points)
    np.testing.assert_array_equal(scan.first(1000).points, scan.points)
