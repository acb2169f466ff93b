"""The registries: literal tables. Adding a model, a transformation or an objective is adding a line."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from crvae3d.core.consistency import Consistent, View
from crvae3d.core.divergences import PAIR_PRIORS
from crvae3d.core.objectives import ELBO, IWAE, Autoencoder, EncoderOnly
from crvae3d.core.objectives import Objective as Bound
from crvae3d.core.schedules import CoolDown, Schedule, WarmUp
from crvae3d.errors import InputError, unknown
from crvae3d.experiment.image_tables import IMAGE_TRANSFORMS
from crvae3d.points import augment, distort, noise
from crvae3d.points.augment import CloudTransform
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training

MODELS: dict[str, PointModel] = {
    "folding": PointModel(),
    "folding-sphere": PointModel(template="sphere"),
    "folding-gaussian": PointModel(template="gaussian"),
    "folding-mixture": PointModel(likelihood="mixture"),
}

TINY = dict(code_size=64, encoder_widths=(32, 64, 128), head_widths=(128,), output_points=256, decoder_width=64)
FULL = dict(code_size=512, encoder_widths=(64, 128, 256, 1024), output_points=2025, decoder_width=512)

PRESETS: dict[str, tuple[dict[str, object], Training]] = {
    "tiny": (TINY, Training(epochs=2, points=256)),
    "small": ({}, Training(epochs=30, points=512)),
    "full": (FULL, Training(epochs=200, points=2048)),
}
"""`tiny`: seconds, for trying; `small`: minutes on two cores; `full`: the literature's size (FoldingNet)."""

OBJECTIVES = ("elbo", "iwae", "autoencoder", "none")
BETA = 0.005


def _half(points: int) -> CloudTransform:
    return augment.Subset(points // 2)


def _down_to_an_eighth(points: int) -> CloudTransform:
    return augment.Subset(points, fewest=max(points // 8, 1))


def _views(
    *transforms: CloudTransform, left: Callable[[int], CloudTransform] = _half
) -> Callable[[int], CloudTransform]:
    """Views of some of the training points, so that a view shares only a part of the shape's points."""
    return lambda points: augment.Compose([*transforms, augment.Jitter(), left(points)])


def _mixed(degrees: float, *further: CloudTransform) -> Callable[[int], CloudTransform]:
    """Stretched, turned about any axis, and thinned, often by far."""
    stretched = augment.Scale(0.7, 1.4, anisotropic=True)
    return _views(stretched, distort.RotateWithin(degrees), *further, left=_down_to_an_eighth)


TRANSFORMS: dict[str, Callable[[int], CloudTransform]] = {
    "jitter": _views(),
    "scale": _views(augment.Scale()),
    "stretch": _views(augment.Scale(0.7, 1.4, anisotropic=True)),
    "tilt": _views(augment.Scale(0.7, 1.4, anisotropic=True), augment.Rotate(15)),
    "azimuth": _views(augment.Scale(), augment.Rotate(180)),
    "so3": _views(augment.Scale(), augment.RotateSO3()),
    "mixed": _mixed(45),
    "far": _mixed(90),
    "mixed-outliers": _mixed(45, noise.Outliers(0.2, fewest=0)),
    "far-outliers": _mixed(90, noise.Outliers(0.2, fewest=0)),
    "crop": _views(augment.Crop(0.3), augment.Scale(0.7, 1.4, anisotropic=True)),
}
"""Families of t(x) for training, by the number of training points; all end in jitter and a random half of the points, or,
in `mixed` and `far`, which also rotate about any axis by up to 45 and 90 degrees, any number of them down to an eighth; with
`-outliers` up to a fifth of a view's points has given way to stray ones before.
`azimuth` and `so3` are `scale`, turned about the vertical and about any axis; `tilt` is `stretch`, turned about the vertical by up
to 15 degrees, and `crop` is `stretch` of a part. What they are called stays, for runs have recorded it."""

FARTHER = {"mixed": "far", "mixed-outliers": "far-outliers"}
"""The views that contrast compares where nothing else is asked for, by those that the bounds see."""

GAPS: dict[str, CloudTransform] = {
    "jitter": augment.Jitter(),
    "thin": augment.DropPoints(0.75),
    "scale": augment.Scale(),
    "stretch": augment.Scale(0.7, 1.4, anisotropic=True),
    "tilt": augment.Rotate(15),
    "azimuth": augment.Rotate(180),
    "so3": augment.RotateSO3(),
    "crop": augment.Crop(0.3),
}
"""The single transformations under which the consistency gap of any model is measured."""


WEIGHTS = {
    **{"kl": 1.0, "reverse": 1.0, "symmetric": 1.0, "wasserstein": 10.0},
    **{"avae": 1.0, "simvae": 1.0, "triplet": 100.0, "nt-xent": 100.0},
}
"""The weight of each divergence where none is given."""

CONTRAST, TEMPERATURE = 1000.0, 0.2
"""Of NT-Xent in the default, where it stands beside KL. Alone NT-Xent takes the usual temperature, 0.1."""

OF_FLAT_CODES = ("wasserstein", "avae", "simvae")
"""The divergences that are known between Gaussians alone, and not between hierarchies."""

CONTRASTIVE = ("nt-xent", "triplet")
"""The divergences that tell a batch's shapes from each other."""

PAPER = {"divergence": "kl", "contrast": 0.0, "transform": "scale", "target": "view"}
"""The form of Sinha and Dieng, 2021, for shapes: KL between the posteriors, and a mild view rebuilds itself. beta stays; 1 is
their ELBO. The default has their KL on views that go farther and rebuild the original, and NT-Xent on others, farther still."""

INVARIANT = {"contrast": CONTRAST, "contrast_transform": "so3"}
"""For shapes in any pose: the default, whose contrast compares views that are turned over all of SO(3)."""

FORMS = {"paper": PAPER, "invariant": INVARIANT}
"""Forms of the objective, of shapes, by the options that ask for them."""


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Args:
        objective: elbo, iwae, autoencoder (deterministic, no rate), or none: the regulariser alone trains the encoder.
        samples: K of iwae; None for 5.
        gradient: of iwae: through all K samples, or through one of them, which is faster.
        beta: weight of the rate of elbo; None for `BETA`.
        consistency: lambda, the weight of what `divergence` names; None for the one in `WEIGHTS`, 0 is the plain model.
            A prior over pairs (avae, simvae) stands in for the rate and has the rate's weight, beta: lambda is a factor on it.
        contrast: weight of NT-Xent between the posterior means of shapes and views, beside the divergence; None for
            `CONTRAST` where KL ties views that rebuild the original to it, beside a bound, else 0.
        contrast_transform: family of the views that this NT-Xent compares, which are encoded and not rebuilt. Where it is
            that of `transform`, the views of the bounds are compared. None for what `FARTHER` names beside the bounds of
            `mixed` views, which need not go so far, else that of `transform`.
        contrast_both: whether it compares those of `transform` as well; each of the two has the weight.
        contrast_standardised: whether NT-Xent, here and as the divergence, compares codes standardised over the batch.
        temperature: of NT-Xent, here and as the divergence; the higher, the less it parts shapes that are alike. None for
            `TEMPERATURE` beside another divergence, else 0.1.
        views: views of each shape, and so many again for a contrast that has its own; None for one where there is a weight
            of either, else none.
        transform: family of views, a name in `TRANSFORMS` or `IMAGE_TRANSFORMS`.
        divergence: what ties a view's posterior to its original's, a name in `core.divergences.DIVERGENCES`; kl is the paper's.
        stop_gradient: hold the original's posterior still in the divergence.
        target: what a view reconstructs: original, or view (the paper's).
        warm_up: part of the training over which beta, lambda and contrast rise from nought; 0 for none.
        cool_down: part of it, at its end, over which lambda and contrast fall to nought: the bounds have the last word.
        balance_groups: while beta rises balance the rate between the groups of a hierarchical code.
    """

    objective: str = "elbo"
    samples: int | None = None
    gradient: str = "all"
    beta: float | None = None
    consistency: float | None = None
    contrast: float | None = None
    contrast_transform: str | None = None
    contrast_both: bool = False
    contrast_standardised: bool = False
    temperature: float | None = None
    views: int | None = None
    transform: str = "mixed"
    divergence: str = "kl"
    stop_gradient: bool = False
    target: str = "original"
    warm_up: float = 0.0
    cool_down: float = 0.0
    balance_groups: bool = False

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            unknown("objective", self.objective, OBJECTIVES)
        if self.divergence not in WEIGHTS:
            unknown("divergence", self.divergence, WEIGHTS)
        self._choose()
        for name, family in self.families.items():
            if family not in TRANSFORMS | IMAGE_TRANSFORMS:
                unknown(name, family, TRANSFORMS | IMAGE_TRANSFORMS, own=True)
        if self.beta is not None and self.objective != "elbo":
            raise InputError(f"beta belongs to the objective elbo, and {self.objective} has none: leave it out")
        if self.samples is not None and self.objective != "iwae":
            raise InputError(f"samples belong to the objective iwae, and {self.objective} takes one: leave them out")
        if self.gradient != "all" and self.objective != "iwae":
            raise InputError(
                f"gradient belongs to the objective iwae, and {self.objective} has no choice: leave it out"
            )
        if self.temperature != 0.1 and not (self.contrast or self.divergence == "nt-xent"):
            raise InputError("a temperature belongs to NT-Xent: give it a contrast weight or the divergence nt-xent")
        if self.objective == "none" and not (self.consistency or self.contrast):
            raise InputError(
                "the objective none leaves training to the regulariser: give it a consistency or contrast weight above 0"
            )
        if self.divergence in PAIR_PRIORS and (self.objective != "elbo" or self.consistency > 1):
            raise InputError(
                f"{self.divergence} stands in for the rate of elbo: its weight lies in [0, 1] and is a factor on beta, "
                f"got {self.consistency} with {self.objective}"
            )
        for name in ("beta", "consistency", "contrast"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise InputError(f"{name} must be nought or more, and finite, got {getattr(self, name)}")
        for name in ("warm_up", "cool_down"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a part of the training, from 0 to 1, got {getattr(self, name)}")
        self.build(lambda family: lambda x, generator: x)  # refuses what does not go together, before any data is read

    def _choose(self) -> None:
        """Give each weight that was left out its value."""
        if self.consistency is None:
            # Nothing but the divergence sees an auto-encoder's deviation: a KL would make it large, and do no more.
            blind = self.objective == "autoencoder" and self.divergence in ("kl", "reverse", "symmetric")
            object.__setattr__(self, "consistency", 0.0 if blind else WEIGHTS[self.divergence])
        bound = self.objective in ("elbo", "iwae")
        if self.contrast is None:
            tied = self.divergence == "kl" and self.target == "original" and self.consistency > 0
            object.__setattr__(self, "contrast", CONTRAST if tied and bound else 0.0)
        if self.contrast_transform is None:
            own = FARTHER.get(self.transform) if self.contrast and bound else None
            object.__setattr__(self, "contrast_transform", own or self.transform)
        if self.temperature is None:
            beside = self.contrast and self.divergence != "nt-xent"
            object.__setattr__(self, "temperature", TEMPERATURE if beside else 0.1)

    @property
    def contrasts(self) -> bool:
        """Whether shapes are told from each other."""
        return bool(self.contrast or (self.consistency and self.divergence in CONTRASTIVE))

    @classmethod
    def recorded(cls, settings: dict[str, object]) -> "Objective":
        """That of a run's record. Those of before there was contrast, or views of its own, do not name them.

        What was called `balance` weighed groups by their size, where it is now through it: it is not told to be the same.
        """
        before = {"contrast": 0.0, "temperature": 0.1, "contrast_transform": settings["transform"]}
        return cls(**before | {name: value for name, value in settings.items() if name != "balance"})

    def build(self, view: Callable[[str], View]) -> Consistent:
        """The objective; `view(family)` is what makes its views, called as `t(x, generator=generator)`."""
        return Consistent(
            self._bound(),
            self._cooled(self.consistency * (self._beta if self.divergence in PAIR_PRIORS else 1)),
            view(self.transform) if self.made_views else None,
            self.made_views,
            self.divergence,
            self.stop_gradient,
            self.target,
            self._cooled(self.contrast),
            self.temperature,
            view(self.contrast_transform) if self.contrasts_others else None,
            self.contrast_both,
            self.contrast_standardised,
        )

    @property
    def families(self) -> dict[str, str]:
        """The families of views, by the setting that names them."""
        return {"transform": self.transform, "contrast_transform": self.contrast_transform}

    @property
    def contrasts_others(self) -> bool:
        """Whether contrast has views of its own."""
        return self.contrast_transform != self.transform

    @property
    def made_views(self) -> int:
        """How many views of `transform` are made of each shape, also where `views` leaves it to the weights."""
        return int(self.consistency > 0 or self.contrast > 0) if self.views is None else self.views

    @property
    def trains_deviation(self) -> bool:
        """Whether a bound trains the posterior's deviation; else it is what chance has made it, or runs away under a KL."""
        return self.objective in ("elbo", "iwae")

    @property
    def _beta(self) -> float:
        return BETA if self.beta is None else self.beta

    def _bound(self) -> Bound:
        if self.objective == "iwae":
            return IWAE(5 if self.samples is None else self.samples, self.gradient)
        if self.objective == "elbo":
            return ELBO(self._scheduled(self._beta), self.balance_groups)
        return Autoencoder() if self.objective == "autoencoder" else EncoderOnly()

    def _scheduled(self, weight: float) -> float | WarmUp:
        return WarmUp(weight, self.warm_up) if self.warm_up and weight else float(weight)

    def _cooled(self, weight: float) -> Schedule:
        risen = self._scheduled(weight)
        return CoolDown(risen, self.cool_down) if self.cool_down and weight else risen
