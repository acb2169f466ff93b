"""A ladder of latent scales as one line of text: `4x4:5 8x8:10` is 5 groups of 4 x 4 latents, then 10 of 8 x 8.

Scales stand in the order in which they are drawn, from coarse to fine, each twice as fine as the one before. The idea of
writing a hierarchy as a line is that of Child, Very Deep VAEs, 2021.
"""

import re
from dataclasses import dataclass

from crvae3d.errors import InputError

RUNG = re.compile(r"(\d+)x(\d+):(\d+)")


@dataclass(frozen=True)
class Scale:
    """`groups` groups of latents of one height and width."""

    height: int
    width: int
    groups: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}:{self.groups}"


@dataclass(frozen=True)
class Ladder:
    """Scales from coarse to fine.

    Raises:
        InputError: there are none, one is empty, or one is not twice as fine as the one before.

    >>> print(Ladder.parse("4x4:5  8x8:10"), Ladder.parse("4x4:2 8x8:1").levels)
    4x4:5 8x8:10 (0, 0, 1)
    """

    scales: tuple[Scale, ...]

    def __post_init__(self) -> None:
        if not self.scales:
            raise InputError("a ladder has at least one scale, got none; write one such as '4x4:5 8x8:10'")
        for scale in self.scales:
            if min(scale.height, scale.width, scale.groups) < 1:
                raise InputError(f"a scale has a height, a width and a number of groups of 1 or more, got '{scale}'")
        for coarse, fine in zip(self.scales, self.scales[1:], strict=False):
            if (fine.height, fine.width) != (2 * coarse.height, 2 * coarse.width):
                raise InputError(
                    f"each scale of a ladder is twice as fine as the one before: after '{coarse}' expected "
                    f"'{2 * coarse.height}x{2 * coarse.width}:...', got '{fine}'"
                )

    @classmethod
    def parse(cls, text: str) -> "Ladder":
        """Read `HEIGHTxWIDTH:GROUPS`, separated by spaces.

        Raises:
            InputError: a part of the text is written otherwise.
        """
        found = [(part, RUNG.fullmatch(part)) for part in text.split()]
        for part, match in found:
            if match is None:
                raise InputError(f"a scale is written HEIGHTxWIDTH:GROUPS, such as '8x8:10', got {part!r} in {text!r}")
        return cls(tuple(Scale(*map(int, match.groups())) for _, match in found))

    def __str__(self) -> str:
        return " ".join(map(str, self.scales))

    @property
    def levels(self) -> tuple[int, ...]:
        """The index of the scale of each group, in the order in which groups are drawn."""
        return tuple(index for index, scale in enumerate(self.scales) for _ in range(scale.groups))

    def halvings(self, height: int, width: int) -> int:
        """How often an image is halved before it is as small as the finest scale, once it is padded to a multiple.

        Raises:
            InputError: the padding would be as large as the image.

        >>> Ladder.parse("4x4:5 8x8:10").halvings(28, 28)
        2
        """
        finest, found = self.scales[-1], 0
        while finest.height * 2**found < height or finest.width * 2**found < width:
            found += 1
        padded = finest.height * 2**found, finest.width * 2**found
        if padded[0] >= 2 * height or padded[1] >= 2 * width:
            raise InputError(
                f"the ladder '{self}' does not fit images of {height}x{width}: they would be padded to "
                f"{padded[0]}x{padded[1]}; choose a finest scale that is the image's size over a power of two"
            )
        return found
