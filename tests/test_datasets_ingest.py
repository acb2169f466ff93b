"""Folders become stores: the same numbers in any order, every bad file named, nothing half-written."""

import csv
import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from crvae3d.datasets import ingest
from crvae3d.datasets.ingest import Ingest, ingest_folder
from crvae3d.datasets.layout import lay_out
from crvae3d.datasets.sampling import draw_points, generator_of
from crvae3d.datasets.shape import Shape
from crvae3d.datasets.sources import Source
from crvae3d.errors import InputError

QUIET = Ingest(points=256, jobs=1, progress=False)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def box(path: Path, *extents: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.creation.box(extents=extents or (1.0, 2.0, 3.0))
    mesh.apply_translation((5.0, -7.0, 100.0))
    mesh.export(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "things"
    for label in ("cube", "plank"):
        for number in range(3):
            for split in ("train", "test")[: 2 if number < 1 else 1]:
                size = (1, 1, 1 + number) if label == "cube" else (9, 4, 1 + number)
                box(place / label / split / f"{label}_{split}_{number}.off", *size)
    return place


def contents(splits):
    parts = [part for part in (splits.train, splits.test) if part is not None]
    return {str(id): part.points[row].tobytes() for part in parts for row, id in enumerate(part.ids)}


def test_draws_lie_on_the_surface_and_are_uniform_in_area():
    mesh = trimesh.creation.box(extents=(1.0, 2.0, 3.0))
    shape = Shape(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    points = draw_points(shape, 60_000, generator_of("box", 0))
    inside = np.abs(points) / (0.5, 1.0, 1.5)
    np.testing.assert_allclose(inside.max(axis=1), 1)
    sides = np.bincount(inside.argmax(axis=1), minlength=3) / 60_000
    np.testing.assert_allclose(sides, np.array([6, 3, 2]) / 11, atol=0.01)
    top = points[points[:, 2] > 1.4999][:, :2]
    np.testing.assert_allclose(top.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(top.var(axis=0), [1 / 12, 4 / 12], rtol=0.05)
    half = points[:30_000]
    np.testing.assert_allclose(half.mean(axis=0), points[30_000:].mean(axis=0), atol=0.03)


def test_a_folder_becomes_labelled_splits_in_the_unit_sphere_with_the_way_back(folder):
    splits = ingest_folder(folder, QUIET)
    train, test = splits.train, splits.test
    assert train.class_names == test.class_names == ("cube", "plank")
    assert list(train.labels) == [0, 0, 0, 1, 1, 1] and list(test.labels) == [0, 1]
    assert list(test.ids) == ["cube_test_0", "plank_test_0"]
    x = train.coordinates().numpy()
    np.testing.assert_allclose(np.linalg.norm(x, axis=-1).max(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-4)
    original = x * train.mesh_scale[:, None, None] + train.mesh_center[:, None] - (5.0, -7.0, 100.0)
    on_surface = (np.abs(original[5]) / (4.5, 2.0, 1.5)).max(axis=1)
    np.testing.assert_allclose(on_surface, 1, atol=1e-3)


def test_the_store_is_memory_mapped_and_read_only_once(folder, monkeypatch):
    first = ingest_folder(folder, QUIET)
    monkeypatch.setattr(ingest, "sample_source", None)
    again = ingest_folder(folder, QUIET)
    assert isinstance(again.train.points.base, np.memmap) or isinstance(again.train.points, np.memmap)
    assert contents(first) == contents(again) and first.store == again.store


def test_a_store_of_which_a_part_was_deleted_is_made_again(folder):
    first = ingest_folder(folder, QUIET)
    before = contents(first)
    (first.store / "table.npz").unlink()
    again = ingest_folder(folder, QUIET)
    assert contents(again) == before and again.store == first.store


@pytest.mark.parametrize("file", ["points.npy", "table.npz"])
def test_a_damaged_store_is_named_and_is_made_again_once_it_is_deleted(folder, file):
    made = ingest_folder(folder, QUIET)
    for content in (b"", (made.store / file).read_bytes()[:300]):
        (made.store / file).write_bytes(content)
        with pytest.raises(InputError, match="is damaged .*delete it, and it is made again"):
            ingest_folder(folder, QUIET)
    shutil.rmtree(made.store)
    np.testing.assert_array_equal(ingest_folder(folder, QUIET).train.ids, made.train.ids)


def test_points_depend_on_names_and_seed_only(folder, tmp_path, monkeypatch):
    whole = contents(ingest_folder(folder, QUIET))
    monkeypatch.setattr(ingest, "_SERIAL", 0)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "cube" / "train" / "cube_train_1.off").unlink()
    fewer = contents(ingest_folder(tmp_path / "copy", Ingest(points=256, jobs=2, progress=False)))
    assert len(fewer) == len(whole) - 1 and fewer.items() <= whole.items()
    other = contents(ingest_folder(folder, Ingest(points=256, seed=1, jobs=1, progress=False)))
    assert not fewer.items() & other.items()


def test_a_zip_gives_what_its_folder_gives(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "things.zip", "w") as packed:
        packed.writestr("__MACOSX/things/cube/train/._cube.off", "junk")
        packed.writestr("things/README.txt", "1 2 3")
        for path in folder.rglob("*.off"):
            packed.write(path, f"things/{path.relative_to(folder)}")
    assert contents(ingest_folder(tmp_path / "things.zip", QUIET)) == contents(ingest_folder(folder, QUIET))
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="not a readable zip"):
        ingest_folder(tmp_path / "broken.zip", QUIET)


def test_a_changed_file_or_setting_makes_a_new_store(folder):
    first = ingest_folder(folder, QUIET)
    assert ingest_folder(folder, Ingest(points=128, jobs=1, progress=False)).train.points.shape == (6, 128, 3)
    changed = box(folder / "cube" / "train" / "cube_train_0.off", 1.0, 1.0, 8.0)
    os.utime(changed, ns=(1, 1))
    again = ingest_folder(folder, QUIET)
    assert again.store != first.store and contents(again)["cube_train_0"] != contents(first)["cube_train_0"]


def test_bad_files_are_named_with_their_reasons_and_the_rest_is_used(folder):
    (folder / "cube" / "train" / "cube_empty.off").write_bytes(b"")
    (folder / "plank" / "test" / "plank_cut.stl").write_bytes(b"x" * 90)
    (folder / "stray.ply").write_bytes(b"ply")
    (folder / "plank" / "notes.md").write_text("no shape")
    splits = ingest_folder(folder, Ingest(points=256, jobs=1))
    assert len(splits.train) == 6 and len(splits.test) == 2
    reasons = dict(splits.failures)
    assert set(reasons) == {"cube/train/cube_empty.off", "plank/test/plank_cut.stl", "stray.ply"}
    assert "empty" in reasons["cube/train/cube_empty.off"] and "no label" in reasons["stray.ply"]
    with (splits.store / "failures.csv").open() as text:
        assert {row["file"]: row["reason"] for row in csv.DictReader(text)} == reasons
    assert ingest_folder(folder, QUIET).failures == splits.failures


def test_nothing_usable_is_a_clear_error_with_a_report(tmp_path, cache):
    for name in ("a.off", "b.stl"):
        (tmp_path / "bad" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(b"")
    with pytest.raises(InputError, match="none of 2 files can be used .a.off: the file is empty.*failures.csv"):
        ingest_folder(tmp_path / "bad", QUIET)
    reports = list((cache / "stores").iterdir())
    assert len(reports) == 1 and "b.stl,the file is empty" in reports[0].read_text()
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="holds no mesh or cloud; files ending in .off.* of pictures those in .png"):
        ingest_folder(tmp_path / "void", QUIET)


def test_an_interrupted_read_leaves_no_store(folder, cache, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "sample_source", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ingest_folder(folder, QUIET)
    assert list((cache / "stores").iterdir()) == []
    assert len(ingest_folder(folder, QUIET).train) == 6


def test_a_cache_that_cannot_be_written_is_explained(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set CRVAE3D_CACHE"):
        ingest_folder(folder, QUIET)


def test_a_machine_without_a_home_folder_is_asked_for_one(folder, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CRVAE3D_CACHE")
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(InputError, match="set CRVAE3D_CACHE to a folder"):
        ingest_folder(folder, QUIET)


@pytest.mark.parametrize("count", [10, 256, 1000])
def test_clouds_are_repeated_or_thinned_to_the_size_of_the_store(count, tmp_path):
    cloud = np.random.default_rng(0).normal(size=(count, 3))
    (tmp_path / "clouds").mkdir()
    np.save(tmp_path / "clouds" / "one.npy", cloud)
    splits = ingest_folder(tmp_path / "clouds", QUIET)
    assert splits.test is None and splits.train.labels is None
    back = splits.train[0].numpy() * splits.train.mesh_scale[0] + splits.train.mesh_center[0]
    near = np.linalg.norm(back[:, None] - cloud[None], axis=-1)
    assert near.min(axis=1).max() < 1e-3
    used = np.bincount(near.argmin(axis=1), minlength=count)
    assert (used >= 1).sum() == min(count, 256) and used.max() <= -(-256 // count)


def test_small_clouds_are_not_filled_up_beyond_the_largest(tmp_path):
    (place := tmp_path / "clouds").mkdir()
    for size in (60, 20):
        np.save(place / f"{size}.npy", np.random.default_rng(0).normal(size=(size, 3)))
    found = ingest_folder(place, QUIET).train
    points = dict(zip(found.ids.tolist(), found.coordinates(), strict=True))
    assert {name: len(of.unique(dim=0)) for name, of in points.items()} == {"60": 60, "20": 20}
    assert all(len(of) == 60 for of in points.values())
    trimesh.creation.box().export(place / "box.off")
    assert ingest_folder(place, QUIET).train.points.shape == (3, 256, 3)


def laid_out(*names: str):
    items, beside = lay_out([Source(Path(name), name) for name in names])
    return [(item.id, item.label, item.split) for item in items], [failure.file for failure in beside]


LAYOUTS = {
    "flat": (["a.off", "b.off"], [("a", None, "train"), ("b", None, "train")]),
    "labels": (["cup/a.off", "jar/b.off"], [("a", "cup", "train"), ("b", "jar", "train")]),
    "modelnet": (["cup/test/a.off", "cup/train/b.off"], [("a", "cup", "test"), ("b", "cup", "train")]),
    "split first": (["test/cup/a.off", "train/cup/b.off"], [("a", "cup", "test"), ("b", "cup", "train")]),
    "inside one folder more": (
        ["mine/cup/test/a.off", "mine/cup/train/b.off"],
        [("a", "cup", "test"), ("b", "cup", "train")],
    ),
    "split first, inside one folder more": (
        ["mine/test/cup/a.off", "mine/train/cup/b.off"],
        [("a", "cup", "test"), ("b", "cup", "train")],
    ),
    "labels, inside one folder more": (
        ["mine/cup/a.off", "mine/cup/b.off", "mine/jar/c.off", "mine/jar/d.off"],
        [("a", "cup", "train"), ("b", "cup", "train"), ("c", "jar", "train"), ("d", "jar", "train")],
    ),
    "shapes of one class, of two files each": (
        ["0269/x1/m.obj", "0269/x1/n.obj", "0269/y2/m.obj", "0269/y2/n.obj"],
        [(f"0269/{place}/{name}", "0269", "train") for place in ("x1", "y2") for name in "mn"],
    ),
    "split in the middle": (
        ["chair/train/1a/model.obj", "chair/test/2b/model.obj"],
        [("chair/train/1a/model", "chair", "train"), ("chair/test/2b/model", "chair", "test")],
    ),
    "split below the shapes": (
        ["0300/1a/train/m.obj", "0300/2b/test/n.obj", "0400/3c/train/o.obj"],
        [("m", "0300", "train"), ("n", "0300", "test"), ("o", "0400", "train")],
    ),
    "classes of one kind": (
        [
            "furniture/chair/train/a.off",
            "furniture/chair/test/b.off",
            "furniture/bed/train/c.off",
            "furniture/bed/test/d.off",
        ],
        [("a", "chair", "train"), ("b", "chair", "test"), ("c", "bed", "train"), ("d", "bed", "test")],
    ),
    "split alone": (["test/a.off", "train/b.off"], [("a", None, "test"), ("b", None, "train")]),
    "validation": (["Train/cup/a.off", "val/cup/b.off"], [("a", "cup", "train"), ("b", "cup", "train")]),
    "training": (["testing/cup/a.off", "training/cup/b.off"], [("a", "cup", "test"), ("b", "cup", "train")]),
    "train is a vehicle": (["car/a.off", "train/b.off"], [("a", "car", "train"), ("b", "train", "train")]),
    "test alone is a label": (["test/a.off"], [("a", "test", "train")]),
    "shapenet": (
        ["0269/x1/models/model.obj", "0330/y2/models/model.obj"],
        [("0269/x1/models/model", "0269", "train"), ("0330/y2/models/model", "0330", "train")],
    ),
    "same stem": (["cup/a.off", "cup/a.obj"], [("cup/a.off", "cup", "train"), ("cup/a.obj", "cup", "train")]),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(case):
    names, items = LAYOUTS[case]
    assert laid_out(*names) == (items, [])


def test_files_beside_the_class_folders_do_not_hide_the_split():
    items, beside = laid_out("cup/train/a.off", "cup/test/b.off", "list.txt")
    assert [split for _, _, split in items] == ["train", "test"] and beside == ["list.txt"]


@pytest.mark.parametrize("around", ["", "mine/"])
@pytest.mark.parametrize("stray", ["splits/train_list.txt", "notes.txt"])
def test_nor_do_lists_beside_the_splits(around, stray):
    files = [
        f"{around}{split}/{label}/{split[:2]}_{label}.xyz" for split in ("train", "test") for label in ("cup", "jar")
    ]
    items, beside = laid_out(*files, around + stray)
    assert items == [(f"{split[:2]}_{label}", label, split) for split in ("train", "test") for label in ("cup", "jar")]
    assert beside == [around + stray]


def test_links_are_followed_but_not_round_in_circles_nor_to_nothing(folder):
    (folder / "cube" / "train" / "back").symlink_to("..")
    (folder / "plank" / "train" / "across").symlink_to("../../cube")
    (folder / "cube" / "train" / "gone.off").symlink_to("nowhere.off")
    (folder / "cube" / "loop").symlink_to("loop")
    splits = ingest_folder(folder, QUIET)
    assert {failure.file.rpartition("/")[2] for failure in splits.failures} == {"gone.off"}
    assert len(splits.train) + len(splits.test) < 40


def test_a_folder_that_may_not_be_looked_into_is_said(folder, monkeypatch):
    def refuse(place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="things cannot be looked into .Permission denied."):
        ingest_folder(folder, QUIET)


def test_a_zip_that_is_replaced_is_read_anew_in_the_same_process(tmp_path):
    scales = []
    for height in (1.0, 5.0):
        box(tmp_path / "box.off", 1.0, 1.0, height)
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as out:
            out.write(tmp_path / "box.off", "box.off")
        (tmp_path / "new.zip").replace(tmp_path / "things.zip")
        scales.append(float(ingest_folder(tmp_path / "things.zip", QUIET).train.mesh_scale[0]))
    assert scales[1] > 2 * scales[0]


def test_what_a_store_holds_of_files_beside_the_shapes_is_read_anew_when_they_change(folder, tmp_path):
    box(folder / "loose.off")
    assert [failure.file for failure in ingest_folder(folder, QUIET).failures] == ["loose.off"]
    (folder / "loose.off").unlink()
    assert ingest_folder(folder, QUIET).failures == ()
    place, scales = tmp_path / "gltf", []
    place.mkdir()
    for height in (1.0, 5.0):
        for name, content in trimesh.Scene([trimesh.creation.box((1, 1, height))]).export(file_type="gltf").items():
            (place / name).write_bytes(content)
        scales.append(float(ingest_folder(place, QUIET).train.mesh_scale[0]))
    assert scales[1] > 2 * scales[0]


def test_numbers_too_far_apart_for_numbers_are_left_out(folder):
    (folder / "cube" / "train" / "far.xyz").write_text("1e200 0 0\n0 1e200 0\n0 0 1e200\n")
    (failure,) = ingest_folder(folder, QUIET).failures
    assert failure.file == "cube/train/far.xyz"


def test_a_script_without_a_main_guard_reads_in_parallel(folder):
    script = (
        "from pathlib import Path; from crvae3d.datasets import ingest; ingest._SERIAL = 0\n"
        f"s = ingest.ingest_folder(Path({str(folder)!r}), ingest.Ingest(points=256, jobs=2, progress=False))\n"
        "print(len(s.train), len(s.test))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["6", "2"], done.stderr


def test_a_gltf_in_a_zip_holds_its_own_numbers(tmp_path):
    with zipfile.ZipFile(tmp_path / "gltf.zip", "w") as out:
        for name, content in trimesh.Scene([trimesh.creation.box()]).export(file_type="gltf").items():
            out.writestr(f"a/{name}", content)
        whole = trimesh.Scene([trimesh.creation.box()]).export(file_type="gltf", embed_buffers=True)
        out.writestr("a/whole.gltf", whole["model.gltf"])
    splits = ingest_folder(tmp_path / "gltf.zip", QUIET)
    ((file, reason),) = splits.failures
    assert file == "a/model.gltf" and "unpack the zip" in reason and len(splits.train) == 1


def test_a_zip_keeps_its_labels_under_another_name_and_beside_other_files(tmp_path):
    box(tmp_path / "box.off")
    top = {"ModelNet10.zip": "ModelNet10/", "renamed.zip": "ModelNet10/", "windows.zip": "windows/"}
    for name, folder in top.items():
        with zipfile.ZipFile(tmp_path / name, "w") as out:
            out.writestr(".DS_Store", b"")
            for split in ("train", "test"):
                member = f"{folder}chair/{split}/{split}.off"
                out.write(tmp_path / "box.off", member.replace("/", "\\") if name == "windows.zip" else member)
        splits = ingest_folder(tmp_path / name, QUIET)
        assert splits.train.class_names == ("chair",) and len(splits.test) == 1, name


def test_a_full_disk_is_told_before_anything_is_read(tmp_path, monkeypatch, cache):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    box(tmp_path / "shapes" / "a.off")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(ingest, "_read_all", None)
    with pytest.raises(InputError, match="No space left.*set CRVAE3D_CACHE to a folder with room"):
        ingest_folder(tmp_path / "shapes", QUIET)
    assert not any(path.is_file() for path in cache.rglob("*"))


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    box(tmp_path / "shapes" / "a.off")
    store = ingest_folder(tmp_path / "shapes", QUIET).store
    shutil.rmtree(store)
    old, new = (store.with_name(f"{store.name}.{name}.part") for name in ("old", "new"))
    old.mkdir(), new.mkdir()
    os.utime(old, (0, 0))
    ingest_folder(tmp_path / "shapes", QUIET)
    assert store.exists() and new.exists() and not old.exists()


def test_other_code_reads_files_again(tmp_path, monkeypatch):
    box(tmp_path / "shapes" / "a.off")
    first = ingest_folder(tmp_path / "shapes", QUIET).store
    monkeypatch.setattr(ingest, "source_digests", lambda paths: [path.name for path in paths])
    assert ingest_folder(tmp_path / "shapes", QUIET).store != first
