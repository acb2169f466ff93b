"""Consistency: a shape and a semantics-preserving transformation of it get the same posterior. Wraps any objective.

    minimise  -bound(x) - bound(t(x)) + weight * KL( q(z|t(x)) || q(z|x) )

Sinha and Dieng, Consistency Regularization for Variational Auto-Encoders, NeurIPS 2021. The view's bound has weight 1 and
gradients reach both posteriors. `weight` multiplies a sum over the code, in nats, beside bounds that are sums too; the
released code averages the reconstruction over pixels and batch and sums the KL over both, so its 1e-3 is another number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from crvae3d.core.divergences import DIVERGENCES
from crvae3d.core.model import VAE
from crvae3d.core.objectives import Objective, Terms
from crvae3d.core.posteriors import held
from crvae3d.core.schedules import Schedule, check, ever, value_at
from crvae3d.errors import InputError, unknown

View = Callable[..., object]
"""A transformation: `t(x, generator=g)` returns a transformed x, random but a function of the generator alone."""

TARGETS = ("view", "original")


@dataclass(frozen=True)
class Consistent:
    """`objective` on x and on its views, and the posteriors of the two held together.

    With `weight` 0 and `views` 1 the views only augment (`+Aug`, the control that isolates the regulariser); with
    `views` 0 it is the plain objective, bit for bit.

    Args:
        objective: the bound of x and of each view.
        weight: lambda, a number or a schedule.
        transform: t, called as `transform(x, generator=generator)`.
        views: K, how many views of each shape; their terms are averaged over the K.
        divergence: a name in `DIVERGENCES`; the paper's is `kl`, view against original.
        stop_gradient: hold the original's posterior still inside the divergence.
        target: what a view must reconstruct: itself (`view`, as in the paper) or the shape it was made of (`original`).
        contrast: weight of NT-Xent between the posterior means of shapes and views, beside the divergence: it also pushes
            other shapes apart. A number or a schedule.
        contrast_transform: makes views for `contrast` to compare, one beside each of the K. They are encoded and not rebuilt,
            so they may go farther than those of `transform`; None to compare those.
        contrast_both: compare those of `transform` too, which are encoded already, and add the two: each has the weight.
        contrast_standardised: standardise codes over the batch before NT-Xent compares them, here and as the divergence.
        temperature: of NT-Xent, here and as the divergence. The lower, the more it pushes away the nearest others alone,
            which are mostly of the same kind (Wang and Liu, Understanding the Behaviour of Contrastive Loss, 2021).
    """

    objective: Objective
    weight: Schedule = 0.0
    transform: View | None = None
    views: int = 1
    divergence: str = "kl"
    stop_gradient: bool = False
    target: str = "view"
    contrast: Schedule = 0.0
    temperature: float = 0.1
    contrast_transform: View | None = None
    contrast_both: bool = False
    contrast_standardised: bool = False

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            unknown("divergence", self.divergence, DIVERGENCES)
        if self.target not in TARGETS:
            unknown("target", self.target, TARGETS)
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature must be above 0 and finite, got {self.temperature}; 0.1 and 0.5 are usual")
        if self.views < 0:
            raise InputError(f"views must be 0 or more, got {self.views}")
        for name, weight in (("consistency", self.weight), ("contrast", self.contrast)):
            check(f"{name} weight", weight)
            if self.views == 0 and ever(weight):
                raise InputError(f"a {name} weight of {weight} needs views to compare: set views to 1 or more")
        if self.contrast_transform is not None and not ever(self.contrast):
            raise InputError("a contrast_transform makes the views of a contrast: give that a weight, or leave it out")
        if self.contrast_both and self.contrast_transform is None:
            raise InputError(
                "contrast_both adds the views of the bound to a contrast's own: pass contrast_transform=... too"
            )
        if self.views > 0 and self.transform is None:
            raise InputError("views need a transform that makes them: pass transform=..., or views=0 for none")

    def __call__(
        self, model: VAE, x: object, progress: float | Tensor = 1.0, generator: torch.Generator | None = None
    ) -> Terms:
        """The terms of a batch: those of x by their names, of its views as `view_...`, `consistency`, and `contrast` if any.

        The generator makes the views; the samples of the posteriors come from torch's global one.
        """
        original = self.objective(model, x, progress=progress)
        if self.views == 0:
            return original
        pairs = [self._view(model, x, original.posterior, progress, generator) for _ in range(self.views)]
        view = {f"view_{name}": _mean([terms.named[name] for terms, _ in pairs]) for name in original.named}
        tied = {name: _mean([terms[name] for _, terms in pairs]) for name in pairs[0][1]}
        per_shape = original.per_shape + _mean([terms.per_shape for terms, _ in pairs])
        # Also while a warm-up is still at nought: what ties the posteriors may be all that is trained.
        for name, weight in (("consistency", self.weight), ("contrast", self.contrast)):
            if ever(weight):
                per_shape = per_shape + value_at(weight, progress) * tied[name]
        return Terms(per_shape, {**original.named, **view, **tied}, original.posterior)

    def _view(
        self,
        model: VAE,
        x: object,
        posterior: Distribution,
        progress: float | Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Terms, dict[str, Tensor]]:
        """The terms of one view of x, and by name what ties its posterior to the original's."""
        view = self.transform(x, generator=generator)
        terms = self.objective(model, view, target=x if self.target == "original" else None, progress=progress)
        reference = held(posterior) if self.stop_gradient else posterior
        tied = {"consistency": self._divergence(self.divergence, terms.posterior, reference)}
        if ever(self.contrast):
            own = self.contrast_transform
            compared = terms.posterior if own is None else model.encoder(own(x, generator=generator))
            tied["contrast"] = self._divergence("nt-xent", compared, reference)
            if self.contrast_both:
                tied["contrast"] = tied["contrast"] + self._divergence("nt-xent", terms.posterior, reference)
        return terms, tied

    def _divergence(self, name: str, view: Distribution, original: Distribution) -> Tensor:
        own = {"temperature": self.temperature, "standardised": self.contrast_standardised}
        return DIVERGENCES[name](view, original, **(own if name == "nt-xent" else {}))


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean(0)
