"""ModelNet from each form on disk: small files of exactly these forms, and the real meshes where they are."""

import json
import re
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
import trimesh

from crvae3d.datasets import modelnet
from crvae3d.datasets.archives import read_archive
from crvae3d.datasets.ingest import Ingest
from crvae3d.datasets.load import load as load_any
from crvae3d.datasets.modelnet import load_modelnet
from crvae3d.errors import InputError

QUIET = Ingest(points=512, jobs=1, progress=False)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))


def load(name, root, **changes):
    settings = Ingest(**{"points": 512, "jobs": 1, "progress": False, **changes})
    return load_modelnet(name, root, settings, download=False)


def tower(generator, count):
    """Points of an object that stands on y: tall in y, wide in x, flat in z; more of it at the bottom."""
    return generator.uniform(-1, 1, (count, 3)) ** [1, 3, 1] * [0.3, 1.0, 0.1] - [0, 0.2, 0]


def assert_stands_on_z(clouds, source):
    """The points are the source's, turned: z of ours is its y, and handedness is kept."""
    x = clouds.coordinates().double().numpy()
    back = x * clouds.mesh_scale[:, None, None] + clouds.mesh_center[:, None]
    extent = np.ptp(back, axis=1)
    assert (extent[:, 2] > extent[:, 0]).all() and (extent[:, 0] > extent[:, 1]).all()
    unturned = np.stack([back[..., 0], back[..., 2], -back[..., 1]], axis=-1)
    for ours, theirs in zip(unturned, source, strict=True):
        distance = np.linalg.norm(ours[:, None] - theirs[None], axis=-1).min(axis=1)
        assert distance.max() < 1e-3


@pytest.fixture
def hdf5(tmp_path):
    folder, draw = tmp_path / "modelnet40_ply_hdf5_2048", np.random.default_rng(0)
    folder.mkdir()
    (folder / "shape_names.txt").write_text("airplane\nbathtub\nbed\n")
    data = {"train0": [2, 0, 1], "train1": [1, 1], "test0": [0, 2]}
    points = {name: np.stack([tower(draw, 2048) for _ in labels]).astype(np.float32) for name, labels in data.items()}
    for name, labels in data.items():
        with h5py.File(folder / f"ply_data_{name}.h5", "w") as out:
            out["data"], out["label"] = points[name], np.array(labels, np.uint8)[:, None]
            out["normal"] = np.zeros_like(points[name])
    for split in ("train", "test"):
        names = [name for name in data if name.startswith(split)]
        lines = [f"data/modelnet40_ply_hdf5_2048/ply_data_{name}.h5\n" for name in names]
        (folder / f"{split}_files.txt").write_text("".join(lines))
    (folder / "ply_data_train_0_id2file.json").write_text(
        json.dumps(["bed/bed_0001.ply", "airplane/airplane_0009.ply", "bathtub/bathtub_0007.ply"])
    )
    return folder, points


def test_a_truncated_list_of_hdf5_is_explained(hdf5):
    listing = hdf5[0] / "ply_data_train_0_id2file.json"
    listing.write_text(listing.read_text()[:-9])
    with pytest.raises(InputError, match="id2file.json is not a readable file of the release"):
        load("modelnet40", hdf5[0].parent)


def test_hdf5(hdf5):
    folder, points = hdf5
    splits = load("modelnet40", folder.parent)
    assert splits.train.class_names == ("airplane", "bathtub", "bed")
    assert list(splits.train.labels) == [2, 0, 1, 1, 1] and list(splits.test.labels) == [0, 2]
    assert list(splits.train.ids[:3]) == ["bed_0001", "airplane_0009", "bathtub_0007"]
    assert len(set(splits.train.ids) | set(splits.test.ids)) == 7
    assert_stands_on_z(splits.train, np.concatenate([points["train0"], points["train1"]]))
    assert_stands_on_z(splits.test, points["test0"])
    np.testing.assert_array_equal(load("modelnet40", folder).train.points, splits.train.points)


def test_a_file_that_moves_to_the_other_list_of_hdf5_moves_its_shapes(hdf5):
    folder, _ = hdf5
    assert len(load("modelnet40", folder).train) == 5
    (folder / "train_files.txt").write_text("ply_data_train0.h5\n")
    (folder / "test_files.txt").write_text("ply_data_train1.h5\nply_data_test0.h5\n")
    splits = load("modelnet40", folder)
    assert (len(splits.train), len(splits.test)) == (3, 4)


def test_releases_of_samples_are_not_read_as_folders_of_clouds(hdf5, resampled):
    for place in (hdf5[0], hdf5[0] / "ply_data_test0.h5", resampled[0]):
        folder = place.parent if place.suffix else place
        with pytest.raises(InputError, match=re.escape(f"`modelnet40`, and give --data {folder}")):
            load_any(place, progress=False)


def test_hdf5_with_a_broken_shape_or_file(hdf5):
    folder, _ = hdf5
    with h5py.File(folder / "ply_data_train1.h5", "r+") as opened:
        opened["data"][0, 5] = np.nan
    splits = load("modelnet40", folder)
    assert len(splits.train) == 4 and [failure.file for failure in splits.failures] == ["ply_data_train1_00000"]
    (folder / "ply_data_train1.h5").write_bytes(b"not hdf5")
    with pytest.raises(InputError, match="train1.h5 is not a readable file"):
        load("modelnet40", folder)
    (folder / "ply_data_train1.h5").unlink()
    with pytest.raises(InputError, match="lacks ply_data_train1.h5"):
        load("modelnet40", folder)


def test_hdf5_of_another_form_or_with_new_names(hdf5):
    folder, _ = hdf5
    (folder / "shape_names.txt").write_text("\n".join(f"new_{i}" for i in range(40)))
    assert load("modelnet40", folder).train.class_names[0].startswith("new_")
    for labels in (np.zeros((1, 1), np.int64), np.zeros((3, 1))):
        with h5py.File(folder / "ply_data_train1.h5", "w") as out:
            out["data"], out["label"] = np.ones((3, 9, 3), np.float32), labels
        with pytest.raises(InputError, match="train1.h5 must hold data"):
            load("modelnet40", folder)


def test_without_h5py_the_extra_is_named(hdf5, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=re.escape("pip install 'crvae3d[hdf5]'")):
        load("modelnet40", hdf5[0])


@pytest.fixture
def resampled(tmp_path):
    folder, draw = tmp_path / "modelnet40_normal_resampled", np.random.default_rng(0)
    lists = {"train": ["night_stand_0001", "chair_0002", "airplane_0003"], "test": ["chair_0890"]}
    points = {id: tower(draw, 1000) for ids in lists.values() for id in ids}
    for id, cloud in points.items():
        path = folder / id.rpartition("_")[0] / f"{id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(",".join(f"{x:.6f}" for x in [*point, 0, 1, 0]) for point in cloud) + "\n")
    for split, ids in lists.items():
        (folder / f"modelnet40_{split}.txt").write_text("\n".join(ids))
        small = [id for id in ids if not id.startswith("airplane")]
        (folder / f"modelnet10_{split}.txt").write_text("\r\n".join(small) + "\r\n")
    (folder / "filelist.txt").write_text("chair/chair_0002.txt\n")
    return folder, points


def test_normal_resampled(resampled):
    folder, points = resampled
    splits = load("modelnet40", folder.parent)
    assert splits.train.class_names == ("airplane", "chair", "night_stand") and splits.failures == ()
    assert list(splits.train.ids) == ["night_stand_0001", "chair_0002", "airplane_0003"]
    assert list(splits.train.labels) == [2, 1, 0] and list(splits.test.ids) == ["chair_0890"]
    assert_stands_on_z(splits.train, [points[id] for id in splits.train.ids])
    assert load("modelnet10", folder).train.class_names == ("chair", "night_stand")
    (folder / "chair" / "chair_0002.txt").unlink()
    assert [failure.file for failure in load("modelnet40", folder).failures] == ["chair/chair_0002.txt"]


@pytest.fixture
def princeton(tmp_path):
    folder = tmp_path / "ModelNet10"
    for name, size in {"chair/train/chair_0001": 1, "chair/test/chair_0900": 2, "bed/train/bed_0001": 3}.items():
        path = folder / f"{name}.off"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = trimesh.creation.box(extents=(1, size, 4)).export(file_type="off")
        path.write_text(text.replace("OFF\n", "OFF", 1) if size == 2 else text)
    (folder / "README.txt").write_text("ModelNet10\n1 2 3\n")
    return folder


def test_the_princeton_folder_and_its_zip_are_the_same(princeton):
    splits = load("modelnet10", princeton.parent)
    assert splits.train.class_names == ("bed", "chair") and splits.failures == ()
    assert list(splits.train.ids) == ["bed_0001", "chair_0001"] and list(splits.test.ids) == ["chair_0900"]
    root = princeton.parent / "zipped"
    root.mkdir()
    with zipfile.ZipFile(root / "ModelNet10.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(princeton.parent.rglob("ModelNet10/**/*.*")):
            packed.write(path, path.relative_to(princeton.parent))
    zipped = load("modelnet10", root)
    np.testing.assert_array_equal(zipped.train.points, splits.train.points)
    assert list(root.iterdir()) == [root / "ModelNet10.zip"]


def test_a_release_that_is_not_whole_is_told_and_an_empty_folder_passed_over(princeton, capsys):
    load("modelnet10", princeton.parent, progress=True)
    told = capsys.readouterr().err
    assert "modelnet10 has 3,991 train shapes, and " in told and "holds 2: no whole release" in told
    root = princeton.parent / "beside"
    (root / "ModelNet10" / "chair").mkdir(parents=True)
    with pytest.raises(InputError, match="modelnet10 is not below"):
        load("modelnet10", root)


def test_archives_come_first_and_the_test_part_may_be_absent(princeton):
    points = np.random.default_rng(0).normal(size=(4, 64, 3))
    np.savez(
        princeton.parent / "modelnet10_train.npz", points=points, labels=[0, 1, 0, 1], class_names=["bed", "chair"]
    )
    splits = load("modelnet10", princeton.parent)
    assert len(splits.train) == 4 and splits.test is None
    np.savez(princeton.parent / "modelnet10_test.npz", points=points[:1], labels=[0], class_names=["bed", "chair"])
    assert len(load("modelnet10", princeton.parent).test) == 1
    np.savez(princeton.parent / "modelnet10_test.npz", points=points[:1], labels=[0], class_names=["chair", "bed"])
    with pytest.raises(InputError, match="differ in their class_names"):
        load("modelnet10", princeton.parent)


def test_what_is_nowhere_is_fetched_or_asked_for(tmp_path, princeton, monkeypatch):
    root = tmp_path / "empty"
    root.mkdir()
    with pytest.raises(InputError, match=r"fetch http\S+ModelNet40.zip and put it at .*empty/ModelNet40.zip"):
        load("modelnet40", root)

    def fetched(download, folder, progress):
        with zipfile.ZipFile(folder / download.file, "w") as packed:
            for path in princeton.rglob("*.off"):
                packed.write(path, path.relative_to(princeton.parent))
        return folder / download.file

    monkeypatch.setattr(modelnet, "fetch", fetched)
    first = load_modelnet("modelnet10", root, QUIET)
    monkeypatch.setattr(modelnet, "fetch", None)
    assert list(load_modelnet("modelnet10", root, QUIET).train.ids) == list(first.train.ids)


def test_checksums_are_well_formed():
    for download in modelnet.DOWNLOADS.values():
        assert re.fullmatch("[0-9a-f]{64}", download.sha256) and download.size > 4e8


def test_real_meshes_agree_with_the_real_archive(real_data, tmp_path):
    packed, archive = real_data / "modelnet10_off_685.tar.xz", real_data / "modelnet10_train.npz"
    if not (packed.exists() and archive.exists()):
        pytest.skip("modelnet10_off_685.tar.xz or modelnet10_train.npz is absent")
    with tarfile.open(packed) as opened:
        # The members stand in the order of the classes, so the first ones are read without unpacking the rest.
        members = [member for member, _ in zip(opened, range(60), strict=False) if "/train/" in member.name]
        opened.extractall(tmp_path, members, filter="data")
    ours = load_modelnet("modelnet10", tmp_path, Ingest(points=2048, jobs=1, progress=False)).train
    theirs, _ = read_archive(archive)
    row = {str(id): index for index, id in enumerate(theirs.ids)}
    rows = [row[str(id)] for id in ours.ids if str(id) in row]
    a, b = ours.coordinates([i for i, id in enumerate(ours.ids) if str(id) in row]), theirs.coordinates(rows)
    distance = torch.stack([torch.cdist(x, y).amin(1).square().mean() for x, y in zip(a, b, strict=True)])
    other = torch.stack([torch.cdist(x, y).amin(1).square().mean() for x, y in zip(a, b.roll(1, 0), strict=True)])
    assert len(rows) >= 10 and distance.max() < 2e-3 and other.median() > 5 * distance.median()
