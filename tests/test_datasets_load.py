"""One word for any dataset; archives packed from it; the report on it."""

import zipfile

import numpy as np
import pytest
import trimesh

from crvae3d.datasets.check import check
from crvae3d.datasets.load import DATASETS, load
from crvae3d.datasets.pack import pack
from crvae3d.datasets.store import data_folder
from crvae3d.errors import InputError

QUIET = {"points": 128, "progress": False, "download": False}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CRVAE3D_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    for split, numbers in {"train": range(3), "test": range(3, 5)}.items():
        for label in ("box", "ball"):
            path = tmp_path / "things" / label / split
            path.mkdir(parents=True)
            for n in numbers:
                ball = label == "ball"
                mesh = trimesh.creation.icosphere(2) if ball else trimesh.creation.box(extents=(1, 2, 3))
                mesh.apply_scale((1, 1, 1 + n))
                mesh.export(path / f"{label}_{n}.ply")
    return tmp_path / "things"


def test_folder_archive_and_file(folder, tmp_path):
    splits = load(str(folder), **QUIET)
    assert splits.name == "things" and len(splits.train) == 6 and len(splits.test) == 4
    one = load(folder / "box" / "train" / "box_0.ply", **QUIET)
    assert list(one.train.ids) == ["box_0"] and one.test is None and one.train.labels is None
    np.savez(tmp_path / "x.npz", points=np.random.default_rng(0).normal(size=(3, 9, 3)))
    archive = load(tmp_path / "x.npz", **QUIET)
    assert len(archive.train) == 3 and archive.test is None and archive.store is None


@pytest.mark.parametrize("form", ["folder", "archive", "named"])
def test_what_is_left_out_is_counted_on_screen_and_named_in_a_report(folder, tmp_path, capsys, form):
    points = np.random.default_rng(0).normal(size=(3, 9, 3))
    points[1, 4] = np.nan
    np.savez(tmp_path / "modelnet10_train.npz", points=points)
    (folder / "box" / "train" / "box_1.ply").write_bytes(b"ply")
    data = {"folder": folder, "archive": tmp_path / "modelnet10_train.npz", "named": "modelnet10"}[form]
    splits = load(data, tmp_path, **QUIET | {"progress": True})
    told = " ".join(capsys.readouterr().err.split())
    ((file, reason),) = splits.failures
    assert f"1 of {10 if form == 'folder' else 3} left out, the first is {file}: {reason}" in told
    report = told.rpartition(" ")[2]
    assert file in open(report).read() and str(tmp_path / "cache") in report
    load(data, tmp_path, **QUIET)
    assert capsys.readouterr().err == ""


def test_a_shape_beside_the_classes_of_its_split_is_left_out(folder):
    (folder / "box" / "train" / "box_0.ply").rename(folder / "box_0.ply")
    for split in ("train", "test"):
        for label in ("box", "ball"):
            (folder / label / split).rename(folder / f"{split}_{label}")
        (folder / split).mkdir()
        for label in ("box", "ball"):
            (folder / f"{split}_{label}").rename(folder / split / label)
    (folder / "box_0.ply").rename(folder / "train" / "box_0.ply")
    (folder / "box").rmdir(), (folder / "ball").rmdir()
    splits = load(folder, **QUIET)
    assert len(splits.train) == 5 and splits.train.class_names == ("ball", "box")
    assert [(file, "no label" in reason) for file, reason in splits.failures] == [("train/box_0.ply", True)]


def test_packed_archives_load_under_the_name_they_were_given(folder, tmp_path):
    paths = pack(str(folder), tmp_path / "out" / "things.npz", points=100, progress=False)
    assert [path.name for path in paths] == ["things_train.npz", "things_test.npz"]
    packed, original = load(tmp_path / "out" / "things.npz"), load(folder, progress=False)
    for ours, theirs in ((packed.train, original.train), (packed.test, original.test)):
        np.testing.assert_array_equal(ours.points, theirs.points[:, :100])
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.mesh_scale, theirs.mesh_scale)
        assert list(ours.ids) == list(theirs.ids) and ours.class_names == theirs.class_names
    assert len(load(paths[1]).train) == 4
    with pytest.raises(InputError, match="things_train.npz exists"):
        pack(str(folder), tmp_path / "out" / "things.npz", progress=False)
    assert pack(str(folder), tmp_path / "out" / "things.npz", points=50, overwrite=True, progress=False) == paths
    with pytest.raises(InputError, match="ends in .npz"):
        pack(str(folder), tmp_path / "things.csv", progress=False)
    with pytest.raises(InputError, match="at least 2"):
        pack(str(folder), tmp_path / "one.npz", points=1, progress=False)
    pack(str(folder / "box" / "train"), tmp_path / "out" / "both.npz", progress=False)
    with pytest.raises(InputError, match="both.npz exists"):  # which would be read in place of the two new ones
        pack(str(folder), tmp_path / "out" / "both.npz", progress=False)
    with pytest.raises(InputError, match="points must lie in"):  # and what was there stays
        pack(tmp_path / "out" / "things.npz", tmp_path / "out" / "both.npz", points=60, overwrite=True, progress=False)
    assert (tmp_path / "out" / "both.npz").exists()
    pack(str(folder), tmp_path / "out" / "both.npz", overwrite=True, progress=False)
    assert load(tmp_path / "out" / "both.npz").test is not None
    with pytest.raises(InputError, match=r"1\.\.50.* got 60"):
        pack(tmp_path / "out" / "things.npz", tmp_path / "more.npz", points=60)


WRONG = {
    "modelnet4": r"did you mean 'modelnet40'\? known are shapes, modelnet10, modelnet40",
    "./nowhere": "nowhere does not exist; give a folder",
    "~nobody-has-this-name/shapes": "~nobody-has-this-name/shapes does not exist; give a folder",
    "absent.npz": "absent.npz does not exist, nor does absent_train.npz",
    "absent.off": "absent.off does not exist",
}


@pytest.mark.parametrize("word", WRONG)
def test_what_is_not_there_is_explained(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=WRONG[word]):
        load(word, **QUIET)


def test_other_wrong_inputs_are_explained(tmp_path):
    (tmp_path / "x.blend").write_bytes(b"x")
    with pytest.raises(InputError, match="x.blend is not read; known are .off"):
        load(tmp_path / "x.blend", **QUIET)
    with pytest.raises(InputError, match="points must be at least 2, got 0"):
        load("shapes", points=0)
    with pytest.raises(InputError, match="data folder .*nowhere does not exist"):
        load("modelnet10", tmp_path / "nowhere")
    with pytest.raises(InputError, match="x.blend is a file: name the folder"):
        load("modelnet10", tmp_path / "x.blend")


def test_a_folder_that_is_called_as_a_dataset_is_told(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "digits").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert len(load("digits").train) == 1438
    assert "digits is taken as the dataset of that name; for the folder here write ./digits" in capsys.readouterr().err
    assert len(load("./digits", **QUIET).train) == 6 and capsys.readouterr().err == ""


def test_a_store_with_damaged_digests_says_what_to_do(folder):
    table = load(folder, **QUIET).store / "table.npz"
    content = bytearray(table.read_bytes())
    with zipfile.ZipFile(table) as opened:
        start = opened.getinfo("digests.npy").header_offset
    content[start + 300] ^= 255
    table.write_bytes(content)
    with pytest.raises(InputError, match="is damaged .*: delete it, and it is made again"):
        check(str(folder), **QUIET)


def test_the_data_folder_is_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    assert data_folder() == tmp_path / "cache" / "data"
    monkeypatch.setenv("CRVAE3D_DATA", str(tmp_path))
    (tmp_path / "other").mkdir()
    assert data_folder() == tmp_path and data_folder(tmp_path / "other") == tmp_path / "other"
    with pytest.raises(InputError, match=f"put it at {tmp_path}/ModelNet10.zip"):
        load("modelnet10", **QUIET)


def test_check_counts_failures_and_twins(folder):
    twin = (folder / "box" / "train" / "box_0.ply").read_bytes()
    (folder / "ball" / "train" / "ball_9.ply").write_bytes(twin)
    (folder / "box" / "test" / "box_9.ply").write_bytes(twin)
    (folder / "box" / "test" / "box_8.ply").write_bytes(b"")
    report = check(str(folder), **QUIET)
    assert report.counts == (("ball", 4, 2), ("box", 3, 3))
    assert [failure.file for failure in report.failures] == ["box/test/box_8.ply"]
    (group,) = report.twins
    assert set(group.ids) == {"box_0", "ball_9", "box_9"} and group.contradict and group.leak
    text = str(report)
    assert "box/test/box_8.ply: the file is empty" in text and "ball_9 (train) = box_0 (train) = box_9 (test)" in text
    assert "1 groups of identical shapes, 1 under several labels, 1 in several parts" in text


def test_check_names_every_twin_those_that_matter_first(folder):
    (folder / "ball" / "train" / "ball_9.ply").write_bytes((folder / "ball" / "train" / "ball_0.ply").read_bytes())
    (folder / "ball" / "train" / "crossing.ply").write_bytes(next((folder / "box" / "test").iterdir()).read_bytes())
    text = str(check(str(folder), **QUIET))
    assert "2 groups" in text and text.index("crossing (train)") < text.index("ball_0 (train) = ball_9 (train)")


def test_an_empty_name_is_not_this_folder():
    for empty in ("", "  "):
        with pytest.raises(InputError, match="an empty name was given"):
            load(empty)


def test_a_scan_in_order_is_packed_in_random_order(tmp_path):
    scan = np.sort(np.random.default_rng(0).normal(size=(2, 400, 3)), axis=1).astype(np.float32)
    np.savez(tmp_path / "scan.npz", points=scan)
    pack(str(tmp_path / "scan.npz"), tmp_path / "packed.npz", points=400, progress=False)
    packed, own = (load(tmp_path / f"{name}.npz").train for name in ("packed", "scan"))
    pack(str(tmp_path / "scan.npz"), tmp_path / "all.npz", progress=False)  # fewer than are usual: all
    np.testing.assert_array_equal(load(tmp_path / "all.npz").train.points, packed.points)
    assert (packed.first(100).coordinates() - own.first(100).coordinates()).abs().max() < 5e-5
    assert (packed.coordinates().sort(1).values - own.coordinates().sort(1).values).abs().max() < 5e-5


def test_check_of_an_archive_without_labels(tmp_path):
    points = np.random.default_rng(0).normal(size=(3, 9, 3))
    np.savez(tmp_path / "x.npz", points=points[[0, 1, 2, 1]])
    report = check(str(tmp_path / "x.npz"))
    assert [group.ids for group in report.twins] == [("shape_000001", "shape_000003")]
    assert not report.twins[0].contradict and "4 shapes of 9 points, no labels" in str(report)
    np.savez(tmp_path / "y_train.npz", points=points, labels=[0, 1, 0])
    np.savez(tmp_path / "y_test.npz", points=points[:1])
    (twins,) = check(str(tmp_path / "y.npz")).twins
    assert twins.leak and not twins.contradict  # what has no label does not say another


def test_every_name_is_a_loader():
    assert set(DATASETS) == {"shapes", "modelnet10", "modelnet40"}
