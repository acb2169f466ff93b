"""Datasets of images: small files of exactly the official forms, folders of pictures, and the real files where they are."""

import gzip
import hashlib
import io
import os
import pickle
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from crvae3d.datasets.clouds import Rows, carve
from crvae3d.datasets.images import omniglot_iwae
from crvae3d.datasets.images.arrays import read_npz
from crvae3d.datasets.images.binarise import binarised
from crvae3d.datasets.images.celeba import load_celeba
from crvae3d.datasets.images.cifar import load_cifar10
from crvae3d.datasets.images.folder import is_picture_folder, load_pictures
from crvae3d.datasets.images.images import Images, without_last
from crvae3d.datasets.images.load import IMAGE_DATASETS, load_images
from crvae3d.datasets.images.mnist import load_mnist
from crvae3d.datasets.images.omniglot import Character, load_omniglot, load_omniglot_lake
from crvae3d.datasets.images.omniglot_iwae import load_omniglot_iwae
from crvae3d.datasets.images.pickles import read_pickle
from crvae3d.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def labelled(count: int = 30, channels: int = 3) -> Images:
    ids = np.array([f"image_{place}" for place in range(count)])
    return Images(noise(count, channels, 6, 5), ids, np.arange(count) % 3, ("a", "b", "c"))


def png(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(out, kind, **options)
    return out.getvalue()


def lay(folder: Path, files: dict[str, bytes | None]) -> Path:
    """The folder with these files in it; None leaves one out."""
    for name, content in files.items():
        if content is None:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def packed(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path


def same(one: Images, other: Images) -> bool:
    columns = (one.pixels, other.pixels), (one.ids, other.ids), (one.labels, other.labels)
    return one.class_names == other.class_names and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in columns
    )


class TestImages:
    def test_intensities_are_pixels_over_255(self):
        images = labelled()
        expected = torch.from_numpy(images.pixels[[3, 5]]).float() / 255
        assert torch.equal(torch.stack(images.__getitems__([3, 5])), expected) and torch.equal(images[5], expected[1])
        assert images.intensities().shape == (30, 3, 6, 5) and images.intensities().dtype == torch.float32
        assert len(images) == 30 and images.describe() == "30 images of 6 x 5 pixels, RGB, 3 classes"
        assert replace(labelled(channels=1), labels=None).describe() == "30 images of 6 x 5 pixels, grey, no labels"

    def test_a_choice_from_disk_copies_nothing_and_holds_the_same(self, tmp_path):
        whole = labelled()
        np.save(tmp_path / "pixels.npy", whole.pixels)
        on_disk = replace(whole, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
        mask = np.arange(30) % 3 == 0
        for choose in (
            lambda images: images.select(mask),
            lambda images: images.select(mask).select(np.array([4, 1])),
            lambda images: images.select(slice(5, None)),
            lambda images: carve(images, 0.2, seed=1)[1],
        ):
            lazy, copied = choose(on_disk), choose(whole)
            assert isinstance(lazy.pixels, Rows) and isinstance(lazy.pixels.array, np.memmap)
            assert same(lazy, copied) and lazy.describe() == copied.describe()
            assert torch.equal(lazy.intensities([1, 0]), copied.intensities([1, 0]))
            assert torch.equal(lazy.intensities(), copied.intensities())
            row = int(np.flatnonzero(whole.ids == lazy.ids[1])[0])
            assert torch.equal(lazy[1], whole[row]) and lazy.labels[1] == whole.labels[row]

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"pixels": noise(30, 6, 5)}, "must be uint8 of the shape"),
            ({"pixels": noise(30, 3, 6, 5) / 255}, "got float64"),
            ({"pixels": noise(30, 3, 0, 5)}, r"got uint8 \(30, 3, 0, 5\)"),
            ({"ids": np.array(["a", "b"])}, "one entry an image"),
            ({"ids": np.array(["a"] * 30)}, "'a' stands more than once"),
            ({"labels": np.zeros((30, 1), int)}, "one entry an image"),
            ({"labels": np.arange(30)}, r"3 class names, got 0\.\.29"),
            ({"labels": np.full(30, -1)}, "got -1"),
            ({"labels": np.zeros(30)}, "must be integers"),
        ],
    )
    def test_what_is_no_set_of_images_is_refused(self, change, told):
        with pytest.raises(InputError, match=told):
            replace(labelled(), **change)

    def test_the_last_are_set_apart(self):
        images = labelled()
        rest, last = without_last(images, 4)
        assert [*rest.ids, *last.ids] == [*images.ids] and len(last) == 4
        for count in (0, 30):
            with pytest.raises(InputError, match="for validation"):
                without_last(images, count)


class TestBinarised:
    def test_is_a_function_of_the_seed_and_the_name_alone(self):
        images = labelled(channels=1)
        chosen = np.random.default_rng(1).permutation(30)[:11]
        assert same(binarised(images, 4), binarised(images, 4))
        assert same(binarised(images.select(chosen), 4), binarised(images, 4).select(chosen))
        assert not same(binarised(images, 5), binarised(images, 4))
        twins = replace(images, pixels=np.full_like(images.pixels, 128))
        assert len(np.unique(binarised(twins, 4).pixels.reshape(30, -1), axis=0)) == 30

    def test_ink_has_the_chance_of_the_grey_value(self):
        levels = np.array([0, 1, 64, 128, 254, 255], np.uint8)
        pixels = np.tile(levels[:, None], (40, 1, 1, 999)).reshape(40, 1, 6, 999)
        drawn = binarised(Images(pixels, np.arange(40).astype(str)), 0).pixels
        assert set(np.unique(drawn)) == {0, 255} and drawn.dtype == np.uint8
        chance, mean = levels / 255, (drawn[:, 0] == 255).mean(axis=(0, 2))
        assert mean[0] == 0 and mean[-1] == 1
        assert (np.abs(mean - chance) <= 4 * np.sqrt(chance * (1 - chance) / (40 * 999))).all()
        half = (drawn[:, 0, 3] == 255) - 0.5  # neighbours and images do not hang together
        assert abs((half[:, 1:] * half[:, :-1]).mean()) < 0.01 and abs((half[1:] * half[:-1]).mean()) < 0.01

    def test_never_changes(self):
        grey = np.arange(200, dtype=np.uint8).reshape(2, 1, 10, 10)
        drawn = binarised(Images(grey, np.array(["train-00000", "train-00001"])), 7).pixels
        assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "b7e2a013599f0e3d"

    def test_refuses_colour_and_impossible_seeds(self):
        with pytest.raises(InputError, match="3 channels"):
            binarised(labelled())
        with pytest.raises(InputError, match="seed"):
            binarised(labelled(channels=1), -1)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


MNIST = {
    "x_train": noise(12, 28, 28),
    "y_train": np.arange(12, dtype=np.uint8) % 10,
    "x_test": noise(5, 28, 28, seed=1),
    "y_test": np.arange(5, dtype=np.uint8),
}
IDX = {
    "train-images-idx3-ubyte": idx(MNIST["x_train"]),
    "train-labels-idx1-ubyte": idx(MNIST["y_train"]),
    "t10k-images-idx3-ubyte": idx(MNIST["x_test"]),
    "t10k-labels-idx1-ubyte": idx(MNIST["y_test"]),
}


def mnist_npz(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist.npz", **(MNIST | changes))
    return folder


MNIST_FORMS = {
    "idx": lambda root: lay(root / "mnist", IDX),
    "gzipped": lambda root: lay(root / "MNIST/raw", {f"{n}.gz": gzip.compress(c) for n, c in IDX.items()}),
    "some gzipped": lambda root: (
        lay(root, {name: content for name, content in IDX.items() if "t10k" not in name})
        and lay(root, {f"{name}.gz": gzip.compress(content) for name, content in IDX.items() if "t10k" in name})
    ),
    "npz": mnist_npz,
    "npz in a folder": lambda root: mnist_npz(root / "mnist"),
}


@pytest.mark.parametrize("form", MNIST_FORMS)
def test_every_form_of_mnist_is_read_exactly(form, tmp_path):
    MNIST_FORMS[form](tmp_path)
    splits = load_mnist(tmp_path, download=False, validation=4)
    parts = (
        (splits.train, "train", slice(0, 8)),
        (splits.validation, "train", slice(8, 12)),
        (splits.test, "test", slice(5)),
    )
    for images, split, rows in parts:
        np.testing.assert_array_equal(images.pixels[:, 0], MNIST[f"x_{split}"][rows])
        np.testing.assert_array_equal(images.labels, MNIST[f"y_{split}"][rows])
    assert splits.train.class_names == tuple("0123456789") and splits.name == "mnist" and splits.failures == ()
    assert list(splits.validation.ids) == [f"train-{place:05d}" for place in range(8, 12)]
    assert splits.test.ids[0] == "test-00000" and Path(splits.source).is_file()


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
CUT = gzip.compress(IDX[LABELS])[:-9]
BAD_IDX = {
    "magic": ({IMAGES: IDX[LABELS]}, "magic number 2051 .*, got 2049"),
    "truncated": ({IMAGES: IDX[IMAGES][:-9]}, "must have 3,936 bytes .* got 3,927"),
    "too long": ({IMAGES: IDX[IMAGES] + b"0"}, "must have 3,936 bytes .* got 3,937"),
    "header only": ({IMAGES: IDX[IMAGES][:6]}, "got 6"),
    "another count": ({LABELS: idx(MNIST["y_test"][:-1])}, "t10k-images.*5 images"),
    "label": ({LABELS: idx(MNIST["y_test"] + 9)}, r"got 9\.\.13"),
    "gzip": ({IMAGES: None, f"{IMAGES}.gz": b"junk"}, "ubyte.gz cannot be read"),
    "cut gzip": ({LABELS: None, f"{LABELS}.gz": CUT}, "ubyte.gz cannot be read"),
    "one missing": ({IMAGES: None}, f"lacks {IMAGES}, with or without .gz"),
}
BAD_NPZ = {
    "pickle": ({"y_test": np.array([{}], dtype=object)}, "pickled objects, which are never loaded"),
    "shape": ({"x_test": noise(5, 784)}, r"mnist.npz: MNIST has images \(images, 28, 28\), and this \(5, 784\)"),
    "number": ({"x_test": np.array(3, np.uint8)}, r"mnist.npz: MNIST has images .* this \(\)"),
    "half of the rows": ({"x_test": noise(5, 14, 28)}, r"this \(5, 14, 28\)"),
    "type": ({"x_test": noise(5, 28, 28).astype(float)}, "mnist.npz: pixels must be uint8"),
    "labels in words": ({"y_test": np.array(list("abcde"))}, "labels of MNIST are whole numbers"),
    "labels between": ({"y_test": np.arange(5) + 0.5}, "labels of MNIST are whole numbers"),
    "count": ({"y_test": np.zeros(4)}, "mnist.npz: labels must have one entry an image"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_broken_files_of_mnist_are_explained(case, tmp_path):
    changes, told = BAD_IDX[case]
    lay(tmp_path, IDX | changes)
    with pytest.raises(InputError, match=told):
        load_mnist(tmp_path, download=False, validation=4)


@pytest.mark.parametrize("case", BAD_NPZ)
def test_wrong_arrays_of_mnist_are_explained(case, tmp_path):
    changes, told = BAD_NPZ[case]
    mnist_npz(tmp_path, **changes)
    with pytest.raises(InputError, match=told):
        load_mnist(tmp_path, download=False, validation=4)


def test_mnist_may_have_an_axis_of_one_channel(tmp_path):
    splits = load_mnist(mnist_npz(tmp_path, x_test=MNIST["x_test"][..., None]), download=False, validation=4)
    np.testing.assert_array_equal(splits.test.pixels[:, 0], MNIST["x_test"])


def test_a_broken_archive_of_mnist_is_explained(tmp_path):
    path = mnist_npz(tmp_path) / "mnist.npz"
    whole = path.read_bytes()
    for content in (b"junk", b"", whole[:-99], whole[:300] + b"?" * 40 + whole[340:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a usable .npz"):
            load_mnist(tmp_path, download=False, validation=4)


def test_an_archive_without_an_array_or_of_one_bare_array_is_explained(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    with pytest.raises(InputError, match="has no array 'b', only a"):
        read_npz(tmp_path / "x.npz", ["b"])
    np.save(tmp_path / "x.npy", np.zeros(2))
    with pytest.raises(InputError, match="one bare array; a were expected"):
        read_npz(tmp_path / "x.npy", ["a"])


def python2(value: object) -> bytes:
    """A value as Python 2 pickles it with protocol 2, whose texts are bytes."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + value.to_bytes(4, "little", signed=True)
        case bytes():
            return b"T" + len(value).to_bytes(4, "little") + value
        case tuple():
            return b"(" + b"".join(map(python2, value)) + b"t"
        case list():
            return b"](" + b"".join(map(python2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(python2(key) + python2(entry) for key, entry in value.items()) + b"u"
        case np.ndarray():
            kind = b"cnumpy\ndtype\n" + python2((value.dtype.str[1:].encode(), 0, 1)) + b"R"
            kind += python2((3, b"|", None, None, None, -1, -1, 0)) + b"b"
            made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + python2((0,)) + python2(b"b") + b"tR"
            return (
                made
                + b"("
                + python2(1)
                + python2(value.shape)
                + kind
                + python2(False)
                + python2(value.tobytes())
                + b"tb"
            )


def pickled(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


CIFAR_NAMES = [b"airplane", b"automobile", b"bird"]


def cifar(**changes) -> dict[str, bytes]:
    """The official files by name, of 4 images each."""
    files = {"batches.meta": {b"num_cases_per_batch": 4, b"label_names": CIFAR_NAMES, b"num_vis": 3072}}
    for place, name in enumerate([f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]):
        names = [b"bird_s_%06d.png" % (10 * place + image) for image in range(4)]
        data = noise(4, 3, 32, 32, seed=place).reshape(4, 3072)
        files[name] = {
            b"batch_label": name.encode(),
            b"labels": [place % 3, 0, 1, 2],
            b"data": data,
            b"filenames": names,
        }
    return {name: pickled(entry) for name, entry in files.items()} | changes


def cifar_folder(root: Path, files: dict[str, bytes]) -> Path:
    return lay(root / "cifar-10-batches-py", files | {"readme.html": b"<html>"})


def cifar_archive(root: Path, files: dict[str, bytes]) -> Path:
    (root / "cifar10").mkdir()
    with tarfile.open(root / "cifar10" / "cifar-10-python.tar.gz", "w:gz") as out:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return root


class TestCifar:
    @pytest.mark.parametrize("make", [cifar_folder, cifar_archive])
    def test_every_form_is_read_exactly(self, make, tmp_path):
        make(tmp_path, cifar())
        splits = load_cifar10(tmp_path, download=False, validation=6)
        everything = np.concatenate([noise(4, 3, 32, 32, seed=place) for place in range(5)])
        np.testing.assert_array_equal(splits.train.pixels, everything[:14])
        np.testing.assert_array_equal(splits.validation.pixels, everything[14:])
        np.testing.assert_array_equal(splits.test.pixels, noise(4, 3, 32, 32, seed=5))
        assert splits.train.class_names == ("airplane", "automobile", "bird")
        assert list(splits.train.labels[:8]) == [0, 0, 1, 2, 1, 0, 1, 2] and list(splits.test.labels) == [2, 0, 1, 2]
        assert splits.validation.ids[0] == "train-00014"

    def test_the_folder_itself_may_be_named(self, tmp_path):
        assert len(load_cifar10(cifar_folder(tmp_path, cifar()), download=False, validation=6).train) == 14

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"data_batch_3": None}, "lacks data_batch_3"),
            ({"data_batch_3": b""}, "data_batch_3 is not a readable pickle"),
            ({"data_batch_3": cifar()["data_batch_3"][:900]}, "data_batch_3 is not a readable pickle"),
            ({"data_batch_3": pickled([1])}, "must hold a dictionary, got list"),
            ({"test_batch": pickled({b"labels": [1]})}, "data of a batch"),
            ({"test_batch": pickled({b"data": noise(4, 3072), b"labels": [b"0"] * 4})}, "list of whole numbers"),
            ({"test_batch": pickled({b"data": noise(4, 3072), b"labels": [0]})}, "4 images"),
            ({"test_batch": pickled({b"data": noise(4, 3072), b"labels": [7] * 4})}, "3 class names"),
            ({"batches.meta": pickled({b"label_names": b"cat"})}, "label_names"),
        ],
    )
    def test_a_broken_one_is_explained(self, changes, told, tmp_path):
        cifar_folder(tmp_path, cifar(**changes))
        with pytest.raises(InputError, match=told):
            load_cifar10(tmp_path, download=False, validation=6)

    def test_a_cut_archive_is_explained(self, tmp_path):
        path = cifar_archive(tmp_path, cifar()) / "cifar10" / "cifar-10-python.tar.gz"
        path.write_bytes(path.read_bytes()[:-20_000])
        with pytest.raises(InputError, match="tar.gz cannot be read"):
            load_cifar10(tmp_path, download=False, validation=6)


class MakesFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class TestPickles:
    def test_values_are_read_as_they_are(self):
        value = {b"a": noise(3, 4), b"b": [1, b"two", -3], b"c": {b"d": None}, b"e": noise(0, 5)}
        found = read_pickle(pickled(value), "x")
        assert found.keys() == value.keys() and found[b"b"] == value[b"b"] and found[b"c"] == value[b"c"]
        np.testing.assert_array_equal(found[b"a"], value[b"a"])
        assert found[b"e"].shape == (0, 5)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_malicious_one_does_not_run(self, protocol, tmp_path):
        target = tmp_path / "made"
        content = pickle.dumps({1: MakesFolder(target)}, protocol)
        with pytest.raises(InputError, match=r"data_batch_1 is a pickle that asks for (posix|nt)\.mkdir"):
            read_pickle(content, "data_batch_1")
        assert not target.exists()
        pickle.loads(content)
        assert target.exists()  # the standard library would have run it

    @pytest.mark.parametrize(
        "name",
        [
            "os\nsystem",
            "__builtin__\neval",
            "builtins\nexec",
            "numpy\nload",
            "numpy\nfromfile",
            "copy_reg\n_reconstructor",
        ],
    )
    def test_every_other_name_is_refused(self, name):
        with pytest.raises(InputError, match=f"asks for {name.replace(chr(10), '.')}"):
            read_pickle(b"\x80\x02c" + name.encode() + b"\n.", "x")

    def test_dotted_names_and_persistent_ids_are_refused(self):
        dotted = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
        with pytest.raises(InputError, match="numpy.ndarray.tofile"):
            read_pickle(dotted, "x")
        with pytest.raises(InputError, match="not a readable pickle"):
            read_pickle(b"Pname\n.", "x")

    @pytest.mark.parametrize("array", [noise(3, 4) / 2, np.array([2**40]), np.array([1], np.int8)])
    def test_other_arrays_are_refused(self, array):
        with pytest.raises(InputError, match="unsigned bytes"):
            read_pickle(pickled({b"a": array}), "x")

    def test_an_array_that_lies_about_its_shape_is_refused(self):
        content = pickled({b"a": noise(3, 4)})
        for shape in ((3, 5), (-3, -4), (3, None)):
            with pytest.raises(InputError, match="unsigned bytes"):
                read_pickle(content.replace(python2((3, 4)), python2(shape)), "x")


def chardata(**changes) -> dict[str, np.ndarray]:
    """The matrices of `chardata.mat`, of 12 and 5 images."""
    found = {}
    for prefix, pixels in (("", MNIST["x_train"]), ("test", MNIST["x_test"])):
        count = len(pixels)
        found[f"{prefix}data"] = np.stack([image.flatten(order="F") for image in pixels], axis=1) / 255
        found[f"{prefix}target"] = (np.arange(50)[:, None] == 7 * np.arange(count) % 50).astype(np.uint8)
        found[f"{prefix}targetchar"] = np.ones((1, count), np.uint8)
    return found | changes


class TestOmniglotOfIwae:
    def test_is_read_exactly(self, tmp_path):
        savemat(tmp_path / "chardata.mat", chardata(), do_compression=True)
        splits = load_omniglot_iwae(tmp_path, download=False, validation=4)
        np.testing.assert_array_equal(splits.train.pixels[:, 0], MNIST["x_train"][:8])
        np.testing.assert_array_equal(splits.validation.pixels[:, 0], MNIST["x_train"][8:])
        np.testing.assert_array_equal(splits.test.pixels[:, 0], MNIST["x_test"])
        assert list(splits.test.labels) == [0, 7, 14, 21, 28] and splits.test.class_names[28] == "alphabet 29"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"data": noise(784, 12)}, "real numbers"),
            ({"testdata": np.zeros((28, 28))}, r"\(784, images\)"),
            ({"data": np.full((784, 12), 1.5)}, r"lie in \[0, 1\]"),
            ({"data": np.full((784, 12), np.nan)}, r"lie in \[0, 1\]"),
            ({"target": np.zeros((50, 12))}, "one alphabet"),
            ({"testtarget": np.ones((1, 7))}, "one alphabet"),
        ],
    )
    def test_a_wrong_one_is_explained(self, change, told, tmp_path):
        savemat(tmp_path / "chardata.mat", chardata(**change))
        with pytest.raises(InputError, match=told):
            load_omniglot_iwae(tmp_path, download=False, validation=4)

    def test_a_broken_one_is_explained(self, tmp_path):
        savemat(tmp_path / "chardata.mat", {"data": np.zeros((784, 2))})
        with pytest.raises(InputError, match="has no array 'target', only data"):
            load_omniglot_iwae(tmp_path, download=False)
        (tmp_path / "chardata.mat").write_bytes(b"junk" * 99)
        with pytest.raises(InputError, match="not a readable MATLAB file"):
            load_omniglot_iwae(tmp_path, download=False)

    def test_the_page_of_a_login_is_not_kept_in_its_place(self, tmp_path, monkeypatch):
        def fetched(download, folder, progress):
            folder.mkdir(exist_ok=True)
            (folder / download.file).write_bytes(b"<html>please log in</html>")
            return folder / download.file

        monkeypatch.setattr(omniglot_iwae, "fetch", fetched)
        with pytest.raises(InputError, match="not a readable MATLAB file .*fetch it again"):
            load_omniglot_iwae(tmp_path)
        assert list((tmp_path / "omniglot").iterdir()) == []


ALPHABETS = {"background": ("Latin", "Angelic"), "evaluation": ("Tengwar",)}
DRAWINGS = {
    part: {
        f"{alphabet}/character{character:02d}/{character + 90:04d}_{drawer:02d}.png": np.random.default_rng(
            [len(alphabet), character, drawer]
        ).random((105, 105)) < 0.7
        for alphabet in alphabets for character in (1, 2, 3) for drawer in (1, 2, 3, 4)
    }
    for part, alphabets in ALPHABETS.items()
}  # fmt: skip


def drawings(part: str, prefix: str = "") -> dict[str, bytes]:
    return {prefix + name: png(paper) for name, paper in DRAWINGS[part].items()}


def averaged(paper: np.ndarray) -> np.ndarray:
    """The slow definition: the mean ink of the pixels whose centres lie in a new pixel."""
    centre, edge = np.arange(105) + 0.5, np.arange(28) * 105 / 28
    inside = (centre > edge[:, None]) & (centre <= edge[:, None] + 105 / 28)
    weight = inside / inside.sum(1, keepdims=True)
    return weight @ (255.0 * ~paper) @ weight.T


class TestOmniglot:
    def test_the_releases_folders_and_zips_are_one_dataset(self, tmp_path):
        for part in DRAWINGS:
            packed(tmp_path / "zips" / "omniglot" / f"images_{part}.zip", drawings(part, f"images_{part}/"))
            lay(tmp_path / "folders" / f"images_{part}", drawings(part))
        one, other = (
            load_omniglot_lake(tmp_path / form, download=False, progress=False) for form in ("zips", "folders")
        )
        assert same(one.train, other.train) and same(one.test, other.test) and one.validation is None
        assert one.train.class_names == one.test.class_names == ("Angelic", "Latin", "Tengwar")
        assert set(one.train.labels) == {0, 1} and set(one.test.labels) == {2} and len(one.train) == 24
        assert one.test.ids[0] == "Tengwar/character01/01"
        for id, image in zip(one.train.ids, np.asarray(one.train.pixels), strict=True):
            alphabet, character, drawer = id.split("/")
            paper = DRAWINGS["background"][f"{alphabet}/{character}/{int(character[-2:]) + 90:04d}_{drawer}.png"]
            assert np.abs(image[0] - averaged(paper)).max() <= 1
        assert 60 < one.train.pixels.array.mean() < 90  # ink is 255, paper is 0

    def test_the_archive_is_the_same_dataset(self, tmp_path):
        for part in DRAWINGS:
            packed(tmp_path / f"images_{part}.zip", drawings(part, f"images_{part}/"))
        released = [load_omniglot(tmp_path, False, False, held=(3, 5)), load_omniglot_lake(tmp_path, False, False)]
        parts = released[1].train, released[1].test
        ids = np.concatenate([part.ids for part in parts])
        characters, character = np.unique([id.rpartition("/")[0] for id in ids], return_inverse=True)
        alphabets = ["Angelic", "Latin", "Tengwar"]
        np.savez(
            tmp_path / "omniglot.npz",
            images28=np.concatenate([np.asarray(part.pixels) for part in parts])[:, 0],
            alphabet=np.array([alphabets.index(id.partition("/")[0]) for id in ids], np.uint8),
            alphabet_names=np.array(alphabets),
            character=character.astype(np.int16),
            character_names=characters,
            drawer=np.array([int(id.rpartition("/")[2]) for id in ids], np.uint8),
            background=np.arange(len(ids)) < len(parts[0]),
        )
        archived = [load_omniglot(tmp_path, False, False, held=(3, 5)), load_omniglot_lake(tmp_path, False, False)]
        assert same(archived[0].validation, released[0].validation)
        for one, other in zip(archived, released, strict=True):
            assert same(one.train, other.train) and same(one.test, other.test) and one.form == "omniglot.npz"

    def test_the_papers_split_is_a_fixed_partition_of_the_background_set(self, tmp_path):
        packed(tmp_path / "images_background.zip", drawings("background", "images_background/"))
        splits = load_omniglot(tmp_path, False, False, held=(3, 5))
        parts = splits.train, splits.validation, splits.test
        assert [len(part) for part in parts] == [16, 3, 5] and splits.train.class_names == ("Angelic", "Latin")
        assert len({id for part in parts for id in part.ids}) == 24
        again = load_omniglot(tmp_path, False, False, held=(3, 5))
        assert same(again.train, splits.train) and same(again.test, splits.test)
        with pytest.raises(InputError, match="24 images are to be held out"):
            load_omniglot(tmp_path, False, False, held=(12, 12))

    def test_unusable_drawings_are_named(self, tmp_path):
        bad = {
            "Latin/character01/0091_09.png": b"",
            "Latin/x.png": b"",
            "Latin/character01/0091_08.png": png(noise(9, 9)),
        }
        lay(tmp_path / "images_background", drawings("background") | bad)
        splits = load_omniglot(tmp_path, False, False, held=(3, 5))
        assert {failure.file for failure in splits.failures} == bad.keys() and len(splits.train) == 16
        with pytest.raises(InputError, match="omniglot is not below"):
            load_omniglot_lake(tmp_path, False, False)

    def test_an_archive_whose_arrays_do_not_match_is_explained(self, tmp_path):
        few = {
            "images28": noise(4, 28, 28),
            "character_names": ["a/1"],
            "alphabet_names": ["a"],
            "background": [True] * 4,
        }
        np.savez(tmp_path / "omniglot.npz", **few, alphabet=[0] * 4, drawer=[1, 2, 3, 4], character=[0, 0, 0, 9])
        with pytest.raises(InputError, match="omniglot.npz: its arrays do not belong together"):
            load_omniglot(tmp_path, False, False)


FACES = {f"{number:06d}.jpg": png(noise(218, 178, 3, seed=number), "JPEG", quality=95) for number in range(1, 8)}
PARTITION = "".join(f"{file} {part}\n" for file, part in zip(FACES, "0010212", strict=True)).encode()


class TestCeleba:
    @pytest.mark.parametrize("form", ["folder", "zip", "as published"])
    def test_every_form_follows_the_official_partition(self, form, tmp_path):
        if form == "folder":
            lay(tmp_path / "celeba" / "img_align_celeba", FACES)
            lay(tmp_path / "celeba", {"list_eval_partition.txt": PARTITION})
        else:
            inner, outer = ("Img", "CelebA/Eval/") if form == "as published" else ("", "")
            top = tmp_path / "CelebA" / inner if inner else tmp_path
            packed(top / "img_align_celeba.zip", {f"img_align_celeba/{file}": face for file, face in FACES.items()})
            lay(tmp_path, {f"{outer}list_eval_partition.txt": PARTITION})
        splits = load_celeba(tmp_path, progress=False)
        assert list(splits.train.ids) == ["000001", "000002", "000004"] and splits.train.labels is None
        assert list(splits.validation.ids) == ["000003", "000006"] and list(splits.test.ids) == ["000005", "000007"]
        for part in (splits.train, splits.validation, splits.test):
            assert part.pixels.shape[1:] == (3, 64, 64) and isinstance(part.pixels, np.memmap)
            for id, image in zip(part.ids, part.pixels, strict=True):
                decoded = np.array(Image.open(io.BytesIO(FACES[f"{id}.jpg"])))[35:183, 15:163]
                expected = torch.nn.functional.interpolate(
                    torch.from_numpy(decoded).permute(2, 0, 1)[None].double(), (64, 64), mode="bilinear", antialias=True
                )
                assert (torch.from_numpy(np.array(image)).double() - expected[0]).abs().max() <= 1.01

    def test_what_is_missing_or_of_another_size_is_named(self, tmp_path):
        kept = {file: face for file, face in FACES.items() if file != "000002.jpg"}
        lay(tmp_path / "img_align_celeba", kept | {"000001.jpg": png(noise(64, 64, 3), "JPEG")})
        lay(tmp_path, {"list_eval_partition.txt": PARTITION})
        splits = load_celeba(tmp_path, progress=False)
        reasons = dict(splits.failures)
        assert "not there" in reasons["000002.jpg"] and "178 x 218" in reasons["000001.jpg"] and len(reasons) == 2
        assert list(splits.train.ids) == ["000004"]

    def test_what_cannot_be_used_is_explained(self, tmp_path):
        lay(tmp_path, {"list_eval_partition.txt": PARTITION})
        with pytest.raises(InputError, match="img_align_celeba.zip from https://mmlab"):
            load_celeba(tmp_path, progress=False)
        lay(tmp_path / "img_align_celeba", {"other.jpg": FACES["000001.jpg"]})
        with pytest.raises(InputError, match="none of its pictures"):
            load_celeba(tmp_path, progress=False)
        lay(tmp_path, {"list_eval_partition.txt": PARTITION + b"000008.jpg 3\n"})
        with pytest.raises(InputError, match="line 8: a file and 0, 1 or 2"):
            load_celeba(tmp_path, progress=False)


COLOUR, GREY = noise(20, 10, 3), noise(20, 10, seed=3)
PALETTE = Image.fromarray(GREY).convert("P")
TRANSPARENT = np.concatenate([COLOUR, np.full((20, 10, 1), 255, np.uint8)], axis=2)
TRANSPARENT[:5, :, 3] = 0
SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6  # to be turned by 90 degrees clockwise

PICTURES = {
    "png": (".png", png(COLOUR), COLOUR),
    "bmp": (".BMP", png(COLOUR, "BMP"), COLOUR),
    "webp": (".webp", png(COLOUR, "WEBP", lossless=True), COLOUR),
    "grey png": (".png", png(GREY), GREY),
    "grey bmp": (".bmp", png(GREY, "BMP"), GREY),
    "grey gif": (".gif", png(GREY, "GIF"), GREY),
    "grey webp": (".webp", png(GREY, "WEBP", lossless=True), GREY),
    "grey in three channels": (".png", png(GREY[..., None].repeat(3, axis=-1)), GREY),
    "grey palette": (".png", png(PALETTE), GREY),
    "black and white": (".png", png(GREY > 99), np.uint8(255) * (GREY > 99)),
    "16 bits": (".png", png(GREY.astype(np.uint16) * 257), GREY),
    "16 bits, one clear": (
        ".png",
        png(GREY.astype(np.uint16) * 257, transparency=int(GREY[0, 0]) * 257),
        np.where(GREY == GREY[0, 0], np.uint8(255), GREY),
    ),
    "transparent": (".png", png(TRANSPARENT), np.where(TRANSPARENT[..., 3:] > 0, COLOUR, np.uint8(255))),
    "animated": (".gif", png(GREY, "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]), GREY),
    "sideways": (".png", png(COLOUR, exif=SIDEWAYS.tobytes()), np.rot90(COLOUR, -1)),
    "of another suffix": (".jpg", png(COLOUR), COLOUR),
}


def quiet(place: Path, *arguments, **options):
    return load_pictures(place, *arguments, jobs=1, progress=False, **options)


class TestPictures:
    @pytest.mark.parametrize("case", PICTURES)
    def test_every_format_keeps_its_pixels(self, case, tmp_path):
        suffix, content, expected = PICTURES[case]
        images = quiet(lay(tmp_path / "x", {f"one{suffix}": content})).train
        pixels = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
        np.testing.assert_array_equal(images.pixels[0], pixels)
        assert images.labels is None and list(images.ids) == ["one"]

    def test_jpeg_keeps_what_its_compression_leaves(self, tmp_path):
        smooth = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.uint8)
        images = quiet(lay(tmp_path / "x", {"one.jpeg": png(smooth, "JPEG", quality=95)})).train
        assert images.pixels.shape == (1, 1, 40, 60) and np.abs(images.pixels[0, 0] - smooth.astype(float)).max() <= 4

    def test_folders_are_labels_and_splits_also_in_a_zip(self, tmp_path):
        names = ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/dog/9.png", "val/dog/7.png"]
        files = {name: png(noise(8, 8, seed=place)) for place, name in enumerate(names)}
        one = quiet(lay(tmp_path / "pets", files | {"readme.txt": b"pets", "test/.hidden.png": b""}))
        other = quiet(packed(tmp_path / "pets.zip", {f"pets/{name}": content for name, content in files.items()}))
        for splits in (one, other):
            named = [splits.train.class_names[label] for label in splits.train.labels]
            assert dict(zip(splits.train.ids, named, strict=True)) == {
                "train/cat/1": "cat", "train/cat/2": "cat", "train/dog/1": "dog", "val/dog/7": "dog"
            }  # fmt: skip
            assert list(splits.test.ids) == ["test/dog/9"] and splits.test.class_names[splits.test.labels[0]] == "dog"
            assert splits.failures == () and splits.validation is None
        assert same(one.train, other.train) and same(one.test, other.test)

    def test_grey_pictures_have_three_channels_only_beside_coloured_ones(self, tmp_path):
        files = {"a.png": png(GREY), "b.png": png(GREY[::-1])}
        assert quiet(lay(tmp_path / "grey", files)).train.pixels.shape == (2, 1, 20, 10)
        mixed = quiet(lay(tmp_path / "mixed", files | {"c.png": png(COLOUR)})).train
        np.testing.assert_array_equal(mixed.pixels[0], np.stack([GREY] * 3))
        np.testing.assert_array_equal(mixed.pixels[2], COLOUR.transpose(2, 0, 1))

    def test_broken_pictures_are_named_and_left_out(self, tmp_path):
        broken = {
            "0.png": (b"", "it is empty"),
            "1.png": (png(COLOUR)[:300], "truncated"),
            "2.jpg": (png(noise(64, 64, 3), "JPEG")[:900], "truncated"),
            "3.gif": (b"hello world", "no picture in one of the formats"),
            "4.bmp": (png(COLOUR, "BMP")[:99], "damaged"),
            "5.webp": (png(COLOUR, "WEBP")[:99], "no picture|damaged"),
            "6.png": (png(COLOUR, "TIFF"), "no picture in one of the formats"),
        }
        files = {name: content for name, (content, _) in broken.items()}
        splits = quiet(lay(tmp_path / "x", files | {"7.png": png(COLOUR), "8.png": png(COLOUR[::-1])}))
        assert list(splits.train.ids) == ["7", "8"] and len(splits.failures) == len(broken)
        for failure in splits.failures:
            assert re.search(broken[failure.file][1], failure.reason), failure
        np.testing.assert_array_equal(splits.train.pixels[1], COLOUR[::-1].transpose(2, 0, 1))
        assert len(np.load(splits.store / "pixels.npy")) == 2  # no room is kept for what was left out

    def test_a_damaged_or_locked_member_of_a_zip_is_left_out_also_where_it_is_the_first(self, tmp_path):
        for name, locked in (("damaged", False), ("locked", True)):
            with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
                for member in ("a.png", "b.png"):
                    packed.writestr(member, png(COLOUR))
            content = bytearray((tmp_path / f"{name}.zip").read_bytes())
            if locked:
                for header, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of a password
                    content[content.index(header) + at] |= 1
            else:
                content[content.index(png(COLOUR)) + 200] ^= 255
            (tmp_path / f"{name}.zip").write_bytes(content)
            splits = quiet(tmp_path / f"{name}.zip")
            assert list(splits.train.ids) == ["b"] and [failure.file for failure in splits.failures] == ["a.png"]

    def test_this_folder_has_its_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(lay(tmp_path / "cats", {"a.png": png(COLOUR), "b.png": png(COLOUR)}))
        assert quiet(".").name == "cats"

    def test_nothing_left_is_explained(self, tmp_path):
        for files, told in (
            ({"x/a.txt": b""}, "holds no picture; files ending in .png"),
            ({"x/a.png": b"", "x/b.jpg": b"x"}, r"none of its 2 pictures can be read \(a.png: it is empty\)"),
            ({"x/train/a/1.png": b"", "x/test/a/1.png": png(GREY)}, "none of 2 pictures can be used"),
        ):
            folder = lay(tmp_path / told[:9], files) / "x"
            with pytest.raises(InputError, match=told):
                quiet(folder)
        with pytest.raises(InputError, match="does not exist"):
            quiet(tmp_path / "nowhere")
        with pytest.raises(InputError, match="at least 1 pixel"):
            quiet(folder, 0)

    def test_the_size_is_that_of_the_first_picture_or_the_one_asked_for(self, tmp_path):
        folder = lay(tmp_path / "x", {"a.png": b"", "b.png": png(noise(12, 8)), "c.png": png(noise(30, 40))})
        assert quiet(folder).train.pixels.shape == (2, 1, 12, 8)
        assert quiet(folder, 16).train.pixels.shape == (2, 1, 16, 16)
        assert (
            quiet(folder, (5, 9)).train.pixels.shape
            == quiet(folder, [5, np.int64(9)]).train.pixels.shape
            == (2, 1, 5, 9)
        )
        assert quiet(folder, np.int64(16)).train.pixels.shape == (2, 1, 16, 16)
        for wrong in (8.0, "8", (8,), (8, 9.5)):
            with pytest.raises(InputError, match="size is a whole number of pixels"):
                quiet(folder, wrong)

    def test_other_proportions_are_cropped_about_the_centre(self, tmp_path):
        wide = np.zeros((20, 60), np.uint8)
        wide[:, 20:40] = GREY.repeat(2, axis=1)
        folder = lay(tmp_path / "x", {"wide.png": png(wide), "tall.png": png(wide.T.copy())})
        square = quiet(folder, 20).train
        np.testing.assert_array_equal(square.pixels[1, 0], wide[:, 20:40])
        np.testing.assert_array_equal(square.pixels[0, 0], wide[:, 20:40].T)
        flat = lay(tmp_path / "flat", {"a.png": png(np.full((31, 17, 3), (9, 99, 199), np.uint8))})
        assert (quiet(flat, (8, 11)).train.pixels[0] == np.array([9, 99, 199])[:, None, None]).all()

    def test_pictures_are_read_once_until_one_changes(self, tmp_path, monkeypatch):
        folder = lay(tmp_path / "x", {"a.png": png(GREY), "b.png": b"junk"})
        first = quiet(folder, 20)
        monkeypatch.setattr(Image, "open", None)
        again = quiet(folder, 20)
        assert same(first.train, again.train) and first.failures == again.failures and again.store == first.store
        monkeypatch.undo()
        monkeypatch.setenv("CRVAE3D_CACHE", str(first.store.parent.parent))
        lay(folder, {"b.png": png(GREY)})
        assert len(quiet(folder, 20).train) == 2 and quiet(folder, 20).failures == ()

    def test_files_that_lie_beside_the_classes_are_named_as_long_as_they_do(self, tmp_path):
        folder = lay(tmp_path / "x", {"a/1.png": png(GREY), "b/2.png": png(GREY[::-1])})
        lay(folder, {"stray.png": png(GREY)})
        assert [failure.file for failure in quiet(folder, 20).failures] == ["stray.png"]
        (folder / "stray.png").unlink()
        assert quiet(folder, 20).failures == ()

    def test_threads_change_nothing(self, tmp_path):
        files = {f"{place}.png": png(noise(9, 9, seed=place)) for place in range(40)}
        one = quiet(lay(tmp_path / "x", files))
        other = load_pictures(lay(tmp_path / "y", files), jobs=2, progress=False)
        assert same(one.train, other.train)

    def test_pictures_are_told_from_meshes(self, tmp_path):
        cases = {
            "pictures": ({"a/1.PNG": b"", "labels.txt": b"", "a/1.pts": b""}, True),
            "meshes": ({"a/1.off": b""}, False),
            "textured": ({"a/1.obj": b"", "a/1.png": b"", "a/2.jpg": b""}, False),
            "previews": ({"a/1.npy": b"", "a/1.png": b""}, False),
            "with an array": ({"a/1.png": b"", "a/2.png": b"", "labels.npy": b""}, True),
            "scans": ({"a.xyz": b"", "b.png": b"", "c.png": b""}, False),
            "nothing": ({"notes.txt": b""}, False),
        }
        for name, (files, expected) in cases.items():
            assert is_picture_folder(lay(tmp_path / name, files)) == expected, name
            assert is_picture_folder(packed(tmp_path / f"{name}.zip", files)) == expected, name
        assert not is_picture_folder(tmp_path / "nowhere") and not is_picture_folder("mnist")
        assert not is_picture_folder(lay(tmp_path, {"a.obj": b""}) / "a.obj")


class TestNamed:
    def test_digits_need_no_file_and_are_split_by_class(self, monkeypatch):
        monkeypatch.setenv("CRVAE3D_DATA", "/nowhere")
        splits, again = (load_images("digits", download=False) for _ in range(2))
        assert same(splits.train, again.train) and same(splits.test, again.test)
        from sklearn.datasets import load_digits

        official = load_digits()
        for part in (splits.train, splits.test):
            places = np.array([int(id.rpartition("-")[2]) for id in part.ids])
            np.testing.assert_array_equal(np.round(part.pixels[:, 0] * (16 / 255)), official.images[places])
            np.testing.assert_array_equal(part.labels, official.target[places])
        assert len({*splits.train.ids, *splits.test.ids}) == 1797 and splits.train.pixels.max() == 255
        share = np.bincount(splits.test.labels) / np.bincount(official.target)
        assert np.abs(share - 0.2).max() < 0.005

    @pytest.mark.parametrize("name", [name for name in IMAGE_DATASETS if name != "digits"])
    def test_what_is_absent_says_what_to_fetch_and_where_to_put_it(self, name, tmp_path, monkeypatch):
        monkeypatch.setenv("CRVAE3D_DATA", str(tmp_path))
        with pytest.raises(InputError, match=f"not below {tmp_path}; fetch .*https://.* and put it at {tmp_path}"):
            load_images(name, download=False)

    def test_unknown_names_are_refused_and_the_nearest_is_named(self):
        with pytest.raises(InputError, match="did you mean 'mnist'"):
            load_images("mnst")


class TestRealFiles:
    def test_mnist(self, real_data):
        splits = load_images("mnist", real_data, download=False)
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [50_000, 10_000, 10_000]
        with np.load(real_data / "mnist.npz") as official:
            np.testing.assert_array_equal(splits.validation.pixels[:, 0], official["x_train"][50_000:])
        assert np.bincount(splits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    def test_omniglot(self, real_data):
        splits = load_images("omniglot", real_data, download=False)
        parts = splits.train, splits.validation, splits.test
        assert [len(part) for part in parts] == [16_280, 1_000, 2_000] and len(splits.train.class_names) == 30
        assert len({id for part in parts for id in part.ids}) == 19_280
        lake = load_images("omniglot-lake", real_data, download=False)
        assert (len(lake.train), len(lake.test), len(lake.train.class_names)) == (19_280, 13_180, 50)
        assert not set(lake.train.labels) & set(lake.test.labels)

    def test_drawings_of_the_release_become_those_of_the_archive(self, real_data):
        with np.load(real_data / "omniglot.npz") as archive:
            chosen = np.arange(0, 32_460, 541)
            paper = ~np.unpackbits(archive["images105_packed"][chosen], axis=1)[:, : 105**2].astype(bool)
            for drawing, expected in zip(paper.reshape(-1, 105, 105), archive["images28"][chosen], strict=True):
                np.testing.assert_array_equal(Character()(png(drawing))[0], expected)
