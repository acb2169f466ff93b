"""What differs between clouds and images beside their networks, in one literal table. The method knows neither."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.binarise import binarised
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.images.picture import SUFFIXES
from crvae3d.datasets.load import is_images
from crvae3d.errors import InputError, unknown
from crvae3d.experiment.image_tables import IMAGE_GAPS, IMAGE_MODELS, IMAGE_PRESETS, IMAGE_TRANSFORMS, Preset
from crvae3d.experiment.tables import GAPS, MODELS, PRESETS, TRANSFORMS
from crvae3d.images.augment import Binarise, kornia
from crvae3d.images.augment import Compose as ImageCompose
from crvae3d.images.models import AnyImageModel
from crvae3d.points.augment import Compose, Jitter, Scale, Subset
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training

Model = PointModel | AnyImageModel
Part = Clouds | Images
View = Callable[..., object]
"""`t(x, generator=g)` gives a transformed batch."""


@dataclass(frozen=True)
class Modality:
    """Clouds, or images.

    Attributes:
        name: shapes or images.
        models: by name.
        presets: of a model, by name.
        transforms: families of t(x) for training, by name: each of the number of points.
        changes: the single transformations under which the consistency gap of any model is measured, by name.
        distance: of a reconstruction from its original, a name in `evaluation.reconstruction.DISTANCES`.
        plain: the control without a network, a name in `evaluation.evaluate.PLAIN`.
        points: how many of a part's points are learnt from, of those asked for; images have none to be fewer.
        drawn: makes what a training step sees of a stored batch; of the model and the number of points.
        augmented: likewise, of the training with labels.
        finished: the last step of each view, of the model; None for none.
        judged: a part of a dataset as it is judged; of the part, the model and the number of points, None for all.
        sampled: of how many judged shapes `evaluate` samples the log-likelihood.
        needs: refuses a view where what makes it is not installed.
        loading: what `load` must know to suit a model.
    """

    name: str
    models: Mapping[str, Model]
    presets: Callable[[Model], Mapping[str, Preset]]
    transforms: Mapping[str, Callable[[int], View]]
    changes: Mapping[str, View]
    distance: str
    plain: str
    points: Callable[[Part, int], int]
    drawn: Callable[[Model, int], View]
    augmented: Callable[[Model, int], View]
    finished: Callable[[Model], View | None]
    judged: Callable[[Part, Model, int | None], Part]
    sampled: int
    needs: Callable[[], object]
    loading: Callable[[Model], dict[str, object]]

    def view(self, transform: str, model: Model, points: int) -> View:
        """t(x) of a family, for a training on `points` points a shape.

        Raises:
            InputError: what makes it is not installed.
        """
        self.needs()
        return self._whole(self.transforms[transform](points), model)

    def gaps(self, model: Model) -> dict[str, View]:
        """The views under which the consistency gap of a model is measured."""
        return {name: self._whole(change, model) for name, change in self.changes.items()}

    def _whole(self, view: View, model: Model) -> View:
        finish = self.finished(model)
        return view if finish is None else ImageCompose([view, finish])


def _black_and_white(model: AnyImageModel) -> View | None:
    """Dynamic binarisation: drawn from grey values anew in every step, and in a view from what warping has made grey."""
    return Binarise() if model.likelihood == "bernoulli" else None


CLOUDS = Modality(
    name="shapes",
    models=MODELS,
    presets=lambda model: PRESETS,
    transforms=TRANSFORMS,
    changes=GAPS,
    distance="chamfer",
    plain="occupancy",
    points=lambda part, asked: min(asked, part.points.shape[1]),
    drawn=lambda model, points: Subset(points),
    augmented=lambda model, points: Compose([Subset(points), Scale(), Jitter()]),
    finished=lambda model: None,
    judged=lambda part, model, points: part if points is None else part.first(min(points, part.points.shape[1])),
    sampled=16,
    needs=lambda: None,
    loading=lambda model: {},
)
IMAGES = Modality(
    name="images",
    models=IMAGE_MODELS,
    presets=lambda model: IMAGE_PRESETS[model.network],
    transforms=IMAGE_TRANSFORMS,
    changes=IMAGE_GAPS,
    distance="mean_squared_error",
    plain="pixels",
    points=lambda part, asked: asked,
    drawn=lambda model, points: _black_and_white(model) or ImageCompose([]),
    augmented=lambda model, points: IMAGES.view("affine", model, points),
    finished=_black_and_white,
    judged=lambda part, model, points: binarised(part) if _black_and_white(model) else part,
    sampled=100,
    needs=kornia,
    loading=lambda model: {"size": (model.height, model.width), "channels": model.channels},
)


def modality_of(model: Model) -> Modality:
    """What a model is made for."""
    return IMAGES if isinstance(model, AnyImageModel) else CLOUDS


def check_kind(model: Model, data: str | Path) -> None:
    """Refuse images for a model of shapes, and the reverse.

    Raises:
        InputError: the data is of the other kind.
    """
    images, made = is_images(data), modality_of(model)
    if images and made is CLOUDS:
        raise InputError(f"{data} has images, and the model is one of shapes: name data of the kind it was trained on")
    if not images and made is IMAGES:
        raise InputError(
            f"{data} has no images, and the model is one of them: name a dataset of images, or a folder or zip of files ending "
            f"in {', '.join(SUFFIXES)}"
        )


def sized(name: str, preset: str = "small") -> tuple[Model, Training]:
    """A model by its name at a preset's size, and how it is trained there.

    Raises:
        InputError: a name is unknown.
    """
    known = CLOUDS.models | IMAGES.models
    if name not in known:
        unknown("model", name, known)
    presets = modality_of(known[name]).presets(known[name])
    if preset not in presets:
        unknown(f"preset of {name}", preset, presets)
    fields, training = presets[preset]
    return replace(known[name], **fields), training
