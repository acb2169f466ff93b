"""The vocabulary of shapes. Annotations only: they are checked in the tests and cost nothing elsewhere."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Points = Float[Tensor, "batch points 3"]
"""A dense batch of clouds, centred and scaled into the unit sphere."""

Mask = Bool[Tensor, "batch points"]
"""True where a point exists, False where the batch is padded."""

Indices = Int[Tensor, "batch points"]

Codes = Float[Tensor, "batch code"]
"""Posterior means: what people index, classify and plot."""

PerShape = Float[Tensor, " batch"]
"""One number a shape, in nats unless the docstring says otherwise."""
