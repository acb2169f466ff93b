"""Train a model on a dataset, a folder of meshes, clouds or pictures, or an archive.

The training split less a validation part is learnt from; the test split is never touched.

examples:
  crvae3d train modelnet10 --out runs/cr                       the default CR-VAE, minutes on two cores
  crvae3d train modelnet10 --paper --out runs/paper            the form of the paper: mild views that rebuild themselves
  crvae3d train modelnet10 --invariant --out runs/inv          for shapes in any pose: contrast over all rotations
  crvae3d train modelnet10 --consistency 0 --out runs/vae      the plain VAE
  crvae3d train modelnet10 --consistency 0 --views 1 --out runs/aug    views, but no regulariser
  crvae3d train my_meshes --preset tiny --out runs/try         a folder of your own, in seconds
  crvae3d train mnist --model mlp --out runs/digits            images: mlp, conv or nvae
  crvae3d train --resume runs/cr                               go on after Ctrl-C or a crash

views of shapes, --transform; all jitter the points, and keep half of them where nothing else is said:
  jitter                          nothing more
  scale, stretch                  smaller or larger, by up to a quarter; each axis by its own factor, 0.7 to 1.4
  azimuth, so3                    scale, turned by any angle about the vertical; about any axis
  tilt, crop                      stretch, turned by up to 15 degrees about the vertical; less up to three tenths at one side
  mixed, far                      stretch, turned by up to 45 or 90 degrees about any axis, thinned to an eighth at most
  mixed-outliers, far-outliers    up to a fifth of the points gone astray as well
of images:
  affine, affine-large            turned by up to 15 degrees, moved by 5 %, zoomed by 10 %; by 30, 10 and 25
  affine-flip, affine-colour      affine, and mirrored; in other colours too

what ties a view to its original, --divergence, and its weight where --consistency is left out:
  kl, reverse, symmetric (1)      KL( view || original ) as in the paper, the other way round, the mean of both
  wasserstein (10)                the squared 2-Wasserstein distance
  avae, simvae (1)                a prior over pairs in place of the rate: codes that correlate; codes about a shared mean
  triplet, nt-xent (100)          contrastive: other shapes of the batch are pushed away
"""

import argparse
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

MODELS = ("folding", "folding-sphere", "folding-gaussian", "folding-mixture", "mlp", "conv", "nvae")
PRESETS = ("tiny", "small", "full", "digits", "mnist", "cifar10", "celeba64")
OBJECTIVES = ("elbo", "iwae", "autoencoder", "none")
TRANSFORMS = (
    *("jitter", "scale", "stretch", "tilt", "azimuth", "so3"),
    *("mixed", "far", "mixed-outliers", "far-outliers", "crop"),
    *("affine", "affine-large", "affine-flip", "affine-colour"),
)
FAMILIES = f"{{{','.join(TRANSFORMS)}}}"  # and what a plugin adds
DIVERGENCES = ("kl", "reverse", "symmetric", "wasserstein", "avae", "simvae", "triplet", "nt-xent")
LIKELIHOODS = ("bernoulli", "gaussian", "logistic", "chamfer", "mixture")
TARGETS = ("view", "original")
GRADIENTS = ("all", "one")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

OPTIONS = (
    "code_size encoder neighbourhoods likelihood height width flows ladder "
    "objective samples gradient beta consistency contrast contrast_transform contrast_both contrast_standardised "
    "temperature views transform divergence target warm_up cool_down stop_gradient "
    "train_size epochs batch_size points learning_rate precision devices seed"
).split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options left out keep the preset's and the method's defaults."""
    add = parser.add_argument
    add("dataset", nargs="?", metavar="DATA", help="a name (see `crvae3d data list`), a folder or an .npz archive")
    add("--out", type=Path, metavar="RUN", help="run folder to make (default: runs/DATA)")
    add("--data", metavar="PATH", help="where named datasets lie (default: $CRVAE3D_DATA, then the cache)")
    add("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
    add("--overwrite", action="store_true", help="replace an existing run")
    add("--plugin", type=Path, metavar="FILE", help="a Python file that adds encoders or transformations of your own")
    add("--quiet", action="store_true", help="show no progress")
    _add_model_arguments(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--train-size", type=int, metavar="N", help="learn from so many shapes alone, drawn by the seed")
    group.add_argument("--epochs", type=int, metavar="N", help="(default: by preset; of shapes 2, 30 or 200)")
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="shapes or images a step on each device (default: 32 of shapes)"
    )
    group.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="drawn of each shape in every epoch (default: by preset 256, 512 or 2048)",
    )
    group.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="falls to nought along a cosine (default: 0.001)"
    )
    group.add_argument("--precision", choices=PRECISIONS, help="(default: 32-true)")
    group.add_argument("--devices", type=int, metavar="N", help="GPUs, 0 for all; without one, processes (default: 1)")
    group.add_argument("--seed", type=int, metavar="N", help="of weights, order and views (default: 0)")


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and what it minimises."""
    group = parser.add_argument_group("model")
    models = (
        "of shapes folding, of a square (default), of a sphere or of a Gaussian's points, or of a square by a mixture's "
        "likelihood, which is a density; of images mlp (default), conv, nvae"
    )
    group.add_argument("--model", choices=MODELS, help=models)
    group.add_argument(
        "--preset", choices=PRESETS, help="tiny: seconds; small: minutes (default); full: GPU; of an nvae the others"
    )
    group.add_argument(
        "--code-size",
        type=int,
        metavar="D",
        help="numbers in a code (default: 512 of shapes, 50 of images; tiny 64, 16)",
    )
    group.add_argument("--encoder", metavar="NAME", help="pointnet, or one of your own that --plugin adds")
    group.add_argument(
        "--neighbourhoods",
        type=int,
        metavar="N",
        help="radii at which the encoder reads what lies around a point; 0 for none (default: 3)",
    )
    group.add_argument(
        "--likelihood", choices=LIKELIHOODS, help="of images (bernoulli draws them black and white) or points"
    )
    group.add_argument("--height", type=int, metavar="PIXELS", help="of a folder's pictures (default: the first one's)")
    group.add_argument("--width", type=int, metavar="PIXELS", help="likewise (default: as high)")
    group.add_argument("--flows", type=int, metavar="N", help="normalising flows of each group of an nvae")
    group.add_argument("--ladder", metavar="TEXT", help="scales of an nvae from coarse to fine: '4x4:5 8x8:10'")
    _add_objective_arguments(parser.add_argument_group("objective"))


def _add_objective_arguments(group: argparse._ArgumentGroup) -> None:
    form = group.add_mutually_exclusive_group()
    add = group.add_argument
    form.add_argument(
        "--paper",
        action="store_true",
        help="mild views that rebuild themselves (of images: the default; beta: see --beta)",
    )
    form.add_argument(
        "--invariant", action="store_true", help="of shapes: the default, whose NT-Xent compares views in any pose"
    )
    add("--objective", choices=OBJECTIVES, help="none: the regulariser alone (default: elbo)")
    add("--samples", type=int, metavar="K", help="of iwae, in its bound (default: 5)")
    add("--gradient", choices=GRADIENTS, help="of iwae: through all samples, or one drawn by its weight")
    add("--beta", type=float, help="weight of the rate; 1 is the ELBO (default: 0.005 of shapes, 1 of images)")
    rise = "part of the training over which beta, lambda and contrast rise from nought (default: 0; of an nvae 0.3)"
    add("--warm-up", type=float, metavar="PART", help=rise)
    fall = "part of it, at its end, over which lambda and contrast fall to nought"
    add("--cool-down", type=float, metavar="PART", help=fall)
    _add_view_arguments(add)


def _add_view_arguments(add: Callable[..., argparse.Action]) -> None:
    """Views, and what ties them to their originals."""
    tied = "what ties a view's posterior to its original's (default: kl)"
    add("--divergence", choices=DIVERGENCES, help=tied)
    plain = "lambda; 0 is the plain model (default: by divergence)"
    add("--consistency", type=float, metavar="WEIGHT", help=plain)
    beside = "of NT-Xent beside a bound (default: 1000 of shapes where kl ties to it views that rebuild the original, else 0)"
    add("--contrast", type=float, metavar="WEIGHT", help=beside)
    alone = "of NT-Xent (default: 0.2 beside a divergence, 0.1 as one)"
    add("--temperature", type=float, metavar="T", help=alone)
    views = "of each shape, with or without consistency (default: 1 where a weight needs it)"
    add("--views", type=int, metavar="K", help=views)
    add("--transform", metavar=FAMILIES, help="what makes a view (default: mixed; of images affine)")
    own = (
        "of views that NT-Xent compares and nothing rebuilds (default: far beside bounds of mixed, far-outliers beside "
        "those of mixed-outliers, else --transform)"
    )
    add("--contrast-transform", metavar="FAMILY", help=own)
    both = "whether NT-Xent compares those of --transform as well, each of the two with the weight"
    add("--contrast-both", action=argparse.BooleanOptionalAction, help=both)
    standard = "whether NT-Xent compares codes standardised over the batch"
    add("--contrast-standardised", action=argparse.BooleanOptionalAction, help=standard)
    add("--target", choices=TARGETS, help="what a view rebuilds (default: original; of images view)")
    add("--stop-gradient", action="store_true", default=None, help="hold the original's posterior still")


def run(arguments: argparse.Namespace) -> None:
    """Train, then say where the run is."""
    from crvae3d.errors import InputError

    if arguments.dataset is None and arguments.resume is None:
        raise InputError("say what to train on: `crvae3d train modelnet10 --out runs/cr`, or --resume RUN to go on")
    if arguments.resume is not None:
        kept = ("dataset", "out", "model", "preset", *OPTIONS)
        given = [name for name in kept if getattr(arguments, name) is not None] + ["overwrite"] * arguments.overwrite
        given += ["paper"] * arguments.paper + ["invariant"] * arguments.invariant
        if given:
            raise InputError(f"a resumed run keeps its settings: leave out {', '.join(given)}, or train a new run")
    from crvae3d.datasets.sources import expanded
    from crvae3d.experiment.plugin import load_plugin
    from crvae3d.experiment.runs import has_test_part, train
    from crvae3d.experiment.settings import Settings

    load_plugin(arguments.plugin)
    if arguments.resume is not None:
        out, settings = arguments.resume, Settings.read(arguments.resume)
        if arguments.data is not None:  # it may have moved
            settings = replace(settings, root=str(expanded(arguments.data).resolve()))
    else:
        data = expanded(arguments.dataset).resolve()
        out = arguments.out or Path("runs") / (data.name if data.is_dir() else data.stem)
        settings = settings_of(arguments)
    train(settings, out, arguments.resume is not None, arguments.overwrite, progress=not arguments.quiet)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one of several processes says so
        by = "" if has_test_part(out) else " --split validation"
        print(f"{out}: {settings.training.epochs} epochs done. Next: crvae3d evaluate {shlex.quote(str(out))}{by}")


def settings_of(arguments: argparse.Namespace) -> object:
    """The settings that the options say; what was left out keeps its default."""
    from crvae3d.errors import InputError
    from crvae3d.experiment.settings import Settings

    given = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    form = {name: True for name in ("paper", "invariant") if getattr(arguments, name)}
    settings = Settings.of(
        arguments.dataset, arguments.data, arguments.model, arguments.preset, not arguments.quiet, **form | given
    )
    idle = [f"--{name.replace('_', '-')}" for name in _idle(settings.objective) if name in given]
    if idle:
        raise InputError(
            f"{', '.join(idle)} would change nothing in this training, which has no use for it: leave it out"
        )
    return settings


def _idle(objective: object) -> list[str]:
    """The options that change nothing beside what is minimised."""
    bound, tied = objective.objective != "none", bool(objective.consistency or objective.contrast)
    compared = objective.contrast or (objective.consistency and objective.divergence == "nt-xent")
    used = {
        "transform": objective.made_views
        and (bound or objective.consistency or not objective.contrasts_others or objective.contrast_both),
        "target": objective.made_views and bound,
        "likelihood": bound,
        "gradient": objective.objective == "iwae",
        "divergence": objective.consistency,
        "contrast_transform": objective.contrast,
        "contrast_both": objective.contrast,
        "contrast_standardised": compared,
        "temperature": compared,
        "stop_gradient": tied,
        "cool_down": tied,
        "warm_up": tied or objective.objective == "elbo",
    }
    return [name for name, use in used.items() if not use]
