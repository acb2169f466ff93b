"""What each figure and curve means, in which unit it is printed and which direction is better."""

import math
from dataclasses import dataclass
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

    def show(self, value: float | None) -> str:
        """The value as printed: a dash where it is missing, words where it is not finite."""
        if value is None:
            return "–"
        if math.isnan(value):
            return "not a number"
        if math.isinf(value):
            return "infinite" if value > 0 else "−infinite"
        scaled = self.factor * value
        digits = self.digits if self.digits is not None else _decimals(scaled)
        return f"{scaled:,.{digits}f}".replace("-", "−")


def _decimals(value: float) -> int:
    """Decimals that leave three significant digits, between none and six."""
    return min(6, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 0


def _accuracy(title: str, text: str) -> Explanation:
    return Explanation(title, "%", text, better="higher", factor=100, digits=1)


FIGURES: dict[str, Explanation] = {
    "svm_accuracy": _accuracy(
        "Linear SVM, codes",
        "Test shapes whose class a linear classifier of the frozen codes (posterior means) names correctly.",
    ),
    "svm_accuracy_pooled": _accuracy(
        "Linear SVM, pooled features", "The same on the encoder's features before the posterior."
    ),
    "knn_accuracy": _accuracy(
        "Nearest neighbours, codes", "Test shapes whose class their nearest training codes name correctly."
    ),
    "knn_accuracy_pooled": _accuracy(
        "Nearest neighbours, pooled features", "The same on the encoder's features before the posterior."
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
    "chamfer": Explanation(
        "Chamfer distance",
        "10⁻³",
        "From a shape to its reconstruction: squared, a mean over points, both directions summed, in the unit sphere.",
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
    "active_units": Explanation(
        "Active units", "", "Dimensions of the code that differ between shapes; 0 is a collapsed posterior.", digits=0
    ),
    "bound": Explanation("Bound", "nats a shape", "Lower bound of log p(x) on test shapes.", better="higher"),
    "distortion": Explanation(
        "Distortion",
        "nats a shape",
        "What the decoder pays for a test shape given its code: −log p(x|z).",
        better="lower",
    ),
    "rate": Explanation("Rate", "nats a shape", "What the code tells of a test shape: KL( q(z|x) || p(z) )."),
}

CURVES: dict[str, Explanation] = {
    "loss": Explanation("Loss", "nats a shape", "What training minimises."),
    "distortion": Explanation("Distortion", "nats a shape", "−log p(x|z)"),
    "rate": Explanation("Rate", "nats a shape", "KL( q(z|x) || p(z) )"),
    "view_distortion": Explanation("Distortion of views", "nats a shape", "−log p(t(x)|z)"),
    "view_rate": Explanation("Rate of views", "nats a shape", "KL( q(z|t(x)) || p(z) )"),
    "consistency": Explanation("Consistency", "nats a shape", "KL( q(z|t(x)) || q(z|x) )"),
    "chamfer": Explanation("Chamfer distance", "squared", "Both directions summed."),
}


def explain(name: str) -> Explanation:
    """The explanation of a figure; "consistency_gap/jitter" is a consistency gap, an unknown name speaks for itself."""
    stem, _, detail = name.partition("/")
    known = FIGURES.get(stem)
    if known is None:
        return Explanation(name.replace("_", " "))
    if not detail:
        return known
    return Explanation(f"{known.title}: {detail}", known.unit, "", known.better, known.factor, known.digits)
