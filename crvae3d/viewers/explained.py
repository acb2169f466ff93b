"""What each figure and curve means, in which unit it is printed and which direction is better."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Explanation:
    """How a reader is told about a figure.

    Attributes:
        title: its name in words.
        unit: the unit that is printed.
        text: one sentence.
        better: the direction that is better, or None where neither is.
        factor: the printed number is `factor * value`.
        digits: decimals of the printed number, or None for three significant digits.
    """

    title: str
    unit: str = ""
    text: str = ""
    better: Literal["higher", "lower"] | None = None
    factor: float = 1.0
    digits: int | None = None

    def show(self, value: float | None, decimals: int | None = None) -> str:
        """The value as printed: a dash where it is missing, words where it is not finite."""
        if value is None:
            return "–"
        if math.isnan(value):
            return "not a number"
        if math.isinf(value):
            return "infinite" if value > 0 else "−infinite"
        text = f"{self.factor * value:,.{self.decimals(value) if decimals is None else decimals}f}"
        return text.replace("-", "−" if text.strip("-0.,") else "")

    def decimals(self, *values: float | None) -> int:
        """Decimals that suit several values printed side by side: the figure's own, or three digits of the largest."""
        if self.digits is not None:
            return self.digits
        scaled = [abs(self.factor * value) for value in values if value is not None and math.isfinite(value)]
        largest = max(scaled, default=0.0)
        return min(6, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0

    def best(self, values: Iterable[float | None]) -> str | None:
        """The best of several values as printed, or None where no direction is better or all print alike."""
        finite = [value for value in values if value is not None and math.isfinite(value)]
        if self.better is None or len({self.show(value) for value in finite}) < 2:
            return None
        return self.show((max if self.better == "higher" else min)(finite))


def _accuracy(title: str, text: str) -> Explanation:
    return Explanation(title, "%", text, better="higher", factor=100, digits=1)


_LOSSES = {
    "nll": ("Negative log-likelihood", "−log p(x) of test images."),
    "nld": (
        "Negative log density",
        "−log p(x) of test images, where p is a density: not to be set beside that of masses.",
    ),
}
_FEW = tuple((ways, shots) for ways in (5, 10) for shots in (10, 20))
FIGURES: dict[str, Explanation] = {
    "svm_accuracy": _accuracy(
        "Linear SVM, codes",
        "Judged shapes whose class a linear classifier of the frozen codes (posterior means) names correctly.",
    ),
    "robust_mean": _accuracy(
        "Corrupted shapes, mean",
        "The linear SVM of clean codes, on corrupted shapes: the mean over all corruptions.",
    ),
    "robust": _accuracy(
        "Corrupted shapes",
        "The linear SVM of clean codes, on judged shapes corrupted in one way: the mean over strengths, or one of them.",
    ),
    "robust_pooled_mean": _accuracy(
        "Corrupted shapes, mean, pooled features", "The same on features before the posterior."
    ),
    "untrained_robust": _accuracy(
        "Untrained encoder, corrupted shapes", "The same on the same encoder before any training."
    ),
    "knn_accuracy": _accuracy(
        "Nearest neighbours, codes", "Judged shapes whose class their nearest training codes name correctly."
    ),
    "untrained_accuracy": _accuracy(
        "Untrained encoder, codes", "The linear SVM on the same encoder before any training: what training must beat."
    ),
    "untrained_accuracy_pooled": _accuracy(
        "Untrained encoder, pooled features", "The same on its features before the posterior."
    ),
    "untrained_knn_accuracy": _accuracy("Untrained encoder, nearest neighbours", "The same by nearest neighbours."),
    "occupancy_accuracy": _accuracy(
        "Occupancy histogram", "The linear SVM on the principal components of an occupancy grid: no network at all."
    ),
    "pixels_accuracy": _accuracy(
        "Pixels", "The linear SVM on the pixels themselves, in grey where they are: no network at all."
    ),
    "svm_literature": _accuracy(
        "Linear SVM as in the literature, codes",
        "The linear classifier as most papers fit it: C = 1, features as they come, nothing chosen.",
    ),
    **{
        f"few_shot_{ways}_{shots}": _accuracy(
            f"Few shots: {ways} classes, {shots} shapes each",
            f"A classifier of the frozen codes that learns from {shots} shapes of each of {ways} classes; mean over draws.",
        )
        for ways, shots in _FEW
    },
    **{
        f"few_shot_{ways}_{shots}_deviation": replace(
            _accuracy(
                f"Few shots: {ways} classes, {shots} shapes each, deviation", "Over draws, as the field reports it."
            ),
            better=None,
        )
        for ways, shots in _FEW
    },
    "retrieval_map": _accuracy(
        "Retrieval, mean average precision",
        "Each test shape asks for the others, nearest code first: how early those of its own class come.",
    ),
    **{
        f"recall_{count}": _accuracy(
            f"Retrieval, recall at {count}",
            "Judged shapes whose nearest other judged shape is of their class."
            if count == 1
            else f"Judged shapes with one of their class among the {count} nearest others.",
        )
        for count in (1, 5, 10)
    },
    "nmi": Explanation(
        "Clusters, normalised mutual information",
        "",
        "How well clusters of the codes, found without labels, agree with the classes: 0 by chance or nearly, 1 exactly.",
        better="higher",
        digits=3,
    ),
    "ari": Explanation(
        "Clusters, adjusted Rand index",
        "",
        "The same, counted over pairs of shapes and corrected for chance: 0 by chance, 1 exactly.",
        better="higher",
        digits=3,
    ),
    "chamfer": Explanation(
        "Chamfer distance",
        "10⁻³",
        "From a shape to its reconstruction: squared, a mean over points, both directions summed, in the unit sphere.",
        better="lower",
        factor=1e3,
        digits=2,
    ),
    "mean_squared_error": Explanation(
        "Squared error",
        "10⁻³",
        "From an image to its reconstruction: squared, a mean over pixels and channels, intensities from 0 to 1.",
        better="lower",
        factor=1e3,
        digits=2,
    ),
    "consistency_gap": Explanation(
        "Consistency gap",
        "nats",
        "How far a transformation moves a test shape's posterior: mean KL( q(z|t(x)) || q(z|x) ).",
        better="lower",
    ),
    "consistency_shift": Explanation(
        "Consistency shift",
        "%",
        "How far a transformation moves a test shape's code, of the mean squared distance between two shapes.",
        better="lower",
        factor=100,
        digits=1,
    ),
    "active_units": Explanation(
        "Active units", "", "Dimensions of the code that differ between shapes; 0 is a collapsed posterior.", digits=0
    ),
    "bound": Explanation("Bound", "nats", "Lower bound of log p(x) on judged shapes.", better="higher"),
    "distortion": Explanation(
        "Distortion",
        "nats",
        "−log p(x|z) of a test shape at a code of its own: comparable where likelihood and number of points are the same.",
    ),
    "rate": Explanation("Rate", "nats", "What the code tells of a test shape: KL( q(z|x) || p(z) )."),
    "mutual_information": Explanation(
        "Mutual information",
        "nats",
        "What a code tells of which test shape it came from, I(x; z), where all codes together are the mixture of the test "
        "shapes' posteriors; it cannot pass the logarithm of their number.",
    ),
    **{
        f"log_likelihood_{count}": Explanation(
            f"Log-likelihood, {count:,} samples",
            "nats a point",
            f"log p(x) of judged shapes by importance sampling with {count:,} samples of the posterior: a lower bound on average.",
            better="higher",
        )
        for count in (10, 100, 1000)
    },
    **{
        f"{kind}_{count}": Explanation(
            f"{title}, {count:,} samples",
            "nats an image",
            f"{meaning} By importance sampling with {count:,} samples of the posterior: an upper bound on average.",
            better="lower",
            digits=2,
        )
        for kind, (title, meaning) in _LOSSES.items()
        for count in (10, 100, 1000)
    },
    **{
        f"{kind}_error": Explanation(
            f"{title}, standard error",
            "nats an image",
            "Of the mean over those test images whose log-likelihood was sampled.",
            digits=2,
        )
        for kind, (title, _) in _LOSSES.items()
    },
    "n_sampled": Explanation(
        "Sampled for the log-likelihood", text="So many of the judged shapes, drawn once for every model.", digits=0
    ),
    "bits_per_dimension": Explanation(
        "Bits a dimension",
        "bits",
        "The negative log-likelihood of most samples over the numbers of an image, in bits.",
        better="lower",
        digits=3,
    ),
    "effective_samples": Explanation(
        "Effective samples",
        "",
        "How many of the importance samples carry the weight; near 1 the log-likelihood is hardly better than the bound.",
    ),
}

CURVES: dict[str, Explanation] = {
    "loss": Explanation("Loss", "nats", "What training minimises."),
    "distortion": Explanation("Distortion", "nats", "−log p(x|z)"),
    "rate": Explanation("Rate", "nats", "KL( q(z|x) || p(z) )"),
    "view_distortion": Explanation("Distortion of views", "nats", "−log p of what a view of x must rebuild"),
    "view_rate": Explanation("Rate of views", "nats", "KL( q(z|t(x)) || p(z) )"),
    "consistency": Explanation(
        "Consistency", "", "What ties a view to its original, before its weight: see Settings, divergence."
    ),
    "contrast": Explanation(
        "Contrast", "nats", "NT-Xent between the means of shapes and of the views that it compares, before its weight."
    ),
    "chamfer": Explanation("Chamfer distance", "squared", "Both directions summed."),
}


def called(kind: str) -> str:
    """A kind of corruption or transformation in words."""
    words = kind.replace("_", " ")
    return {"azimuth": "turned about the vertical", "so3": "turned about any axis", "thin": "thinned"}.get(kind, words)


def _known(name: str) -> Explanation | None:
    """What `FIGURES` says of a figure; of the pooled features' what it says of the codes'."""
    found = FIGURES.get(name.removesuffix("_pooled"))
    if name in FIGURES or found is None:
        return FIGURES.get(name)
    title = f"{found.title.removesuffix(', codes')}, pooled features"
    return replace(found, title=title, text=f"{found.text} Here of the encoder's features before the posterior.")


def explain(name: str) -> Explanation:
    """The explanation of a figure, or of its stem where it has a detail; an unknown name speaks for itself.

    >>> explain("consistency_gap/jitter").title, explain("robust/density_decrease/5").title
    ('Consistency gap: jitter', 'Corrupted shapes: density decrease, strength 5')
    """
    stem, _, detail = name.partition("/")
    known = _known(stem)
    if known is None:
        return Explanation(name.replace("_", " "))
    if not detail:
        return known
    kind, _, strength = detail.partition("/")
    detail = called(kind) + (f", strength {strength}" if strength else "")
    return Explanation(f"{known.title}: {detail}", known.unit, "", known.better, known.factor, known.digits)


def about(name: str, noun: str = "shape") -> str:
    """What a figure means and which direction is better, in a sentence or two; those of its stem where it has a detail.

    `noun` is what is judged.
    """
    known = _known(name.partition("/")[0])
    if known is None or not known.text:
        return ""
    text = known.text.replace("shape", noun)
    return f"{text} {known.better.capitalize()} is better." if known.better else text
