"""Archives: what is written is read back, foreign ones are brought into the unit sphere, wrong ones are explained."""

import numpy as np
import pytest
import torch

from crvae3d.datasets.archives import read_archive, write_archive
from crvae3d.datasets.clouds import Clouds
from crvae3d.errors import InputError

RAW = np.random.default_rng(1).normal(size=(5, 64, 3)) * [[[10.0, 20.0, 30.0]]] + 100.0


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_written_archives_are_read_back_exactly(tmp_path):
    clouds, failures = read_archive(
        archive(tmp_path / "raw.npz", points=RAW, labels=np.array([0, 1, 1, 0, 2]), class_names=["a", "b", "c"])
    )
    write_archive(tmp_path / "out.npz", clouds)
    again, _ = read_archive(tmp_path / "out.npz")
    write_archive(tmp_path / "twice.npz", again)
    twice, _ = read_archive(tmp_path / "twice.npz")
    assert failures == () and again.points.dtype == np.int16 and again.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(again.points, twice.points)
    np.testing.assert_array_equal(again.labels, clouds.labels)
    np.testing.assert_array_equal(again.ids, clouds.ids)
    assert (again.coordinates() - clouds.coordinates()).abs().max() < 1.6e-5
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_float_clouds_in_any_units_are_centred_and_scaled_and_can_go_back(tmp_path):
    clouds, _ = read_archive(archive(tmp_path / "raw.npz", points=RAW.astype(np.float32)))
    x = clouds.coordinates()
    torch.testing.assert_close(x.mean(1), torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.norm(dim=-1).amax(1), torch.ones(5))
    original = x.numpy() * clouds.mesh_scale[:, None, None] + clouds.mesh_center[:, None]
    np.testing.assert_allclose(original, RAW, rtol=1e-5)
    assert clouds.labels is None and len(set(clouds.ids)) == 5


def test_the_way_back_to_the_users_units_is_kept_through_a_second_framing(tmp_path):
    center, scale = np.arange(15.0).reshape(5, 3), np.arange(1.0, 6.0)
    path = archive(tmp_path / "raw.npz", points=RAW, mesh_center=center, mesh_scale=scale)
    clouds, _ = read_archive(path)
    original = clouds.coordinates().numpy() * clouds.mesh_scale[:, None, None] + clouds.mesh_center[:, None]
    np.testing.assert_allclose(original, RAW * scale[:, None, None] + center[:, None], rtol=1e-5)


def test_unusable_shapes_are_left_out_and_named(tmp_path):
    points = RAW.copy()
    points[1, 3, 0], points[4] = np.nan, 7.0
    clouds, failures = read_archive(
        archive(tmp_path / "x.npz", points=points, ids=list("abcde"), labels=[0, 1, 2, 0, 1])
    )
    assert list(clouds.ids) == ["a", "c", "d"] and list(clouds.labels) == [0, 2, 0]
    assert [failure.file for failure in failures] == ["b", "e"]
    assert "finite" in failures[0].reason and "coincide" in failures[1].reason


def test_rounding_is_no_shape(tmp_path):
    points = RAW.astype(np.float64)
    points[2] = [0.1, 0.7, 0.3]  # whose mean is not quite that
    points[3] = 4.5e6 + 1e-3 * points[3]  # and this is one, a few millimetres large
    clouds, failures = read_archive(archive(tmp_path / "x.npz", points=points, ids=list("abcde")))
    assert list(clouds.ids) == ["a", "b", "d", "e"]
    assert failures == (("c", "all of its points coincide"),)


def test_clouds_of_integers_are_checked_too(tmp_path):
    points = np.random.default_rng(0).integers(-50, 50, (4, 9, 3)).astype(np.int16)
    points[2] = 7
    path = archive(tmp_path / "x.npz", points=points, scale=0.01, ids=list("abcd"), labels=[0, 1, 2, 0])
    clouds, failures = read_archive(path)
    assert list(clouds.ids) == ["a", "b", "d"] and list(clouds.labels) == [0, 1, 0]
    assert failures == (("c", "all of its points coincide"),)
    for scale in (0.0, -0.01, np.nan, np.inf):
        with pytest.raises(InputError, match="scale must be a positive number"):
            read_archive(archive(tmp_path / "y.npz", points=points, scale=scale))
    with pytest.raises(InputError, match="none of its 4 shapes"):
        read_archive(archive(tmp_path / "y.npz", points=np.full_like(points, 3), scale=0.01))


def test_labels_may_be_words_or_a_column(tmp_path):
    words, _ = read_archive(archive(tmp_path / "w.npz", points=RAW, labels=np.array(list("babab"))))
    column, _ = read_archive(archive(tmp_path / "c.npz", points=RAW, labels=np.array([[1], [0], [1], [0], [1]])))
    assert words.class_names == ("a", "b") and list(words.labels) == [1, 0, 1, 0, 1] == list(column.labels)


def test_bytes_are_names_and_whole_floats_are_labels(tmp_path):
    names = {"ids": np.array(list("abcde"), "S"), "class_names": np.array([b"cup", b"jar"])}
    clouds, _ = read_archive(archive(tmp_path / "x.npz", points=RAW, labels=np.array([1.0, 0, 1, 0, 1]), **names))
    assert list(clouds.ids) == list("abcde") and clouds.class_names == ("cup", "jar")
    assert list(clouds.labels) == [1, 0, 1, 0, 1]
    clouds, _ = read_archive(archive(tmp_path / "y.npz", points=RAW, labels=np.array(list("babab"), "S")))
    assert clouds.class_names == ("a", "b")


def test_words_and_booleans_are_looked_up_among_the_class_names(tmp_path):
    for labels in (np.array(["jar", "cup", "jar", "cup", "jar"]), np.array([0, 1, 0, 1, 0], bool)):
        clouds, _ = read_archive(archive(tmp_path / "x.npz", points=RAW, labels=labels, class_names=["jar", "cup"]))
        assert list(clouds.labels) == [0, 1, 0, 1, 0] and clouds.class_names == ("jar", "cup")


INTEGERS = np.zeros((2, 4, 3), np.int16)
WRONG = {
    "no points": ({"xyz": RAW}, "no array 'points', only xyz"),
    "one cloud": ({"points": RAW[0]}, r"\(shapes, points, 3\), got float64 \(64, 3\)"),
    "no shapes": ({"points": RAW[:0]}, "shapes, points, 3"),
    "no scale": ({"points": INTEGERS}, "'scale'"),
    "outside": ({"points": INTEGERS + 9, "scale": 1.0}, "unit sphere"),
    "outside in a corner": ({"points": INTEGERS + 9, "scale": 0.1}, "unit sphere"),
    "scale in words": ({"points": INTEGERS, "scale": "x"}, "one number 'scale'"),
    "frame in words": (
        {"points": RAW, "mesh_scale": list("abcde"), "mesh_center": RAW[:, 0]},
        "mesh_scale must be numbers",
    ),
    "labels between classes": ({"points": RAW, "labels": [0, 0.5, 1, 1, 0]}, "integers or names"),
    "labels that are not numbers": ({"points": RAW, "labels": [np.nan] * 5}, "integers or names"),
    "too large": ({"points": RAW * 1e200}, "not all finite"),
    "labels": ({"points": RAW, "labels": [0, 1]}, r"labels must have the shape \(5,\), got \(2,\)"),
    "same names": (
        {"points": RAW, "labels": [0, 1, 1, 0, 0], "class_names": ["a", "a"]},
        "several classes are called 'a'",
    ),
    "label range": ({"points": RAW, "labels": [0, 1, 2, 3, 4], "class_names": ["a", "b"]}, r"0\.\.1, got 0\.\.4"),
    "label without a class": (
        {"points": RAW, "labels": list("abcab"), "class_names": ["a", "b"]},
        "the label 'c' is not among its class_names, a, b",
    ),
    "twice": ({"points": RAW, "ids": list("abcda")}, "'a' stands more than once"),
    "no size": ({"points": RAW, "mesh_scale": [1, 2, 0, 1, 1], "mesh_center": RAW[:, 0]}, "must be positive, got 0"),
    "no place": ({"points": RAW, "mesh_scale": np.ones(5), "mesh_center": np.nan * RAW[:, 0]}, "must be finite"),
    "endless": ({"points": RAW, "mesh_scale": np.inf * np.ones(5), "mesh_center": RAW[:, 0]}, "must be finite"),
    "half a frame": ({"points": RAW, "mesh_scale": np.ones(5)}, "come together"),
    "pickle": ({"points": np.array([{}], dtype=object)}, "pickled objects, which are never loaded"),
    "nothing usable": ({"points": RAW * np.nan}, "none of its 5 shapes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_archive_is_explained(case, tmp_path):
    arrays, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        read_archive(archive(tmp_path / "x.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 cut"])
def test_a_broken_archive_is_explained(content, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match="x.npz is not a"):
        read_archive(tmp_path / "x.npz")


def test_class_names_in_a_table_are_explained(tmp_path):
    names = np.array([["a", "b"], ["c", "d"]])
    np.savez(tmp_path / "x.npz", points=RAW, labels=np.zeros(len(RAW), int), class_names=names)
    with pytest.raises(InputError, match="class_names must be names"):
        read_archive(tmp_path / "x.npz")


def test_a_bare_array_and_a_missing_file_are_explained(tmp_path):
    np.save(tmp_path / "x.npy", RAW)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(InputError, match="bare array"):
        read_archive(tmp_path / "x.npz")
    with pytest.raises(InputError, match="No such file"):
        read_archive(tmp_path / "absent.npz")


def test_an_archive_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    clouds = Clouds(points=INTEGERS, ids=np.array(["a", "b"]))
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_archive(tmp_path / "x.npz", clouds)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
