"""What a Top-K payload is made of, in numbers that all three implementations share (docs/formats/payload.md)."""

from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

ValueBits = Literal[1, 2, 3, 4, 8, 16, 32]

VERSION: Final = 2
VALUE_BITS: Final[tuple[ValueBits, ...]] = (1, 2, 3, 4, 8, 16, 32)
"""Bits of a value that is sent, in the order of their code in the header."""
LEVELS: Final[dict[int, int]] = {1: 1, 2: 2, 3: 4, 4: 8}
"""Magnitudes of a chunk, by value bits: the means of so many groups of equal size."""
COUNT_BITS: Final = 13
UNIT_SHIFT: Final = 18
"""A level is sent as the upper bits of its float32: sign (always 0), exponent, 5 bits of mantissa: 1/32 octave."""
UNIT_BITS: Final = 13
LARGEST_UNIT: Final = 0x1FDF
"""The largest finite one."""
ESCAPE: Final = 12
"""A quotient of so many zeros: the level follows as it is, in UNIT_BITS."""
TOP_RICE: Final = 1
"""Rice parameter of a chunk's top level, as a difference to the last chunk's."""
STEP_RICE: Final[dict[int, int]] = {1: 0, 2: 3, 3: 2, 4: 1, 8: 5}
"""Rice parameter of a level's difference to the one above it, by value bits."""
STEPS: Final = 127
"""8 bits: parts into which the way from the smallest to the largest kept magnitude is cut."""


def levels_of(value_bits: int) -> int:
    """How many levels a chunk has: none where values are floats themselves, both ends of the scale for 8 bits."""
    return LEVELS.get(value_bits, 2 if value_bits == 8 else 0)


def keep(ratio: float, elements: int) -> int:
    """How many of `elements` are sent."""
    return max(1, round(ratio * elements))


@cache
def rice_parameter(count: int, elements: int) -> int:
    """The b that makes Rice codes of the gaps shortest, if `count` of `elements` positions are drawn at random.

    A gap is then geometric with p = count / elements; b + 1 serves it better than b while 2^b * -ln(1 - p) is below
    ln of the golden ratio (Kiely 2004). In whole numbers, so that all members find the same: -ln(1 - p) as p + p^2/2.
    """
    bits = 0
    while bits < 11 and 10_000 * (count << bits) * (2 * elements + count) < 4812 * 2 * elements * elements:
        bits += 1
    return bits


@cache
def rice_table(elements: int) -> npt.NDArray[np.int64]:
    """`rice_parameter` by count, from 0 to `elements`."""
    table = np.array([rice_parameter(max(count, 1), elements) for count in range(elements + 1)], np.int64)
    table.setflags(write=False)
    return table


def count_rice(kept: int) -> int:
    """Rice parameter of a chunk's count where counts vary about `kept`."""
    return max(0, kept.bit_length() - 1)
