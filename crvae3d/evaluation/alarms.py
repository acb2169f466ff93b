"""What must be read before any figure: that a model has failed, in words."""

from crvae3d.evaluation.codes import Codes
from crvae3d.evaluation.information import ACTIVE, active_units
from crvae3d.evaluation.reconstruction import Diversity

LEAST_RATE = 0.5  # nats a shape: two classes cannot be told apart by less than ln 2
LEAST_ACTIVE = 0.02  # share of the code's dimensions
LEAST_DIVERSITY = 0.05  # of the shapes' own


def alarms(codes: Codes, diversity: Diversity | None = None) -> tuple[str, ...]:
    """What is wrong with a model, each a sentence that says what was seen and what to try. Nothing for a healthy one.

    Args:
        codes: of the test shapes.
        diversity: of its reconstructions, where they were made.
    """
    broken = not_finite(codes)
    return broken or tuple(sentence for sentence in (_collapsed(codes), _one_shape(diversity)) if sentence)


def not_finite(codes: Codes) -> tuple[str, ...]:
    """That codes are not finite: of an encoder alone all that can be told, for it has no prior to collapse into."""
    if not codes.finite.all():
        return (
            f"{(~codes.finite).sum():,} of {len(codes):,} shapes have codes that are not finite: the training has "
            "diverged or these shapes are broken; train with a lower --learning-rate, and look for extreme coordinates "
            "with `crvae3d data check`",
        )
    return ()


def _collapsed(codes: Codes) -> str | None:
    """Whether the posterior has become the prior."""
    if len(codes) < 2:  # one shape differs from no other
        return None
    size, active, rate = codes.means.shape[1], active_units(codes.means), codes.rate
    seen = (
        f"{active} of {size} units of the code are active (variance over shapes above {ACTIVE}), rate {rate:.2g} nats"
    )
    advice = "lower --beta, let it rise slowly with --warm-up 0.5, or train longer"
    if active == 0 or rate < LEAST_RATE:
        return f"the posterior has collapsed, codes hardly differ between shapes: {seen}; {advice}"
    if active < LEAST_ACTIVE * size:
        return f"most of the posterior has collapsed: {seen}; {advice}, or make the code smaller"
    return None


def _one_shape(diversity: Diversity | None) -> str | None:
    """Whether the decoder leaves the code unread."""
    if diversity is None or not diversity.ratio < LEAST_DIVERSITY:
        return None
    return (
        f"all reconstructions are one shape: they differ from each other by {diversity.ratio:.1%} of what the shapes "
        f"do (mean distance {diversity.reconstructions:.2g} against {diversity.shapes:.2g}); lower --beta, "
        "lower --learning-rate, or train longer"
    )
