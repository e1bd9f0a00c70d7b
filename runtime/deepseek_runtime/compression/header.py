"""The 4 bytes before each piece of a payload: which form, made by which version, with what parameters."""

import struct
from typing import Final, NamedTuple, Self

from deepseek_runtime.compression.coding import U8
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.form import VERSION

HEADER: Final = struct.Struct("<BBH")


class Header(NamedTuple):
    """form: number of the form; small, large: its parameters, of 8 and 16 bits."""

    form: int
    small: int = 0
    large: int = 0

    def pack(self) -> bytes:
        return HEADER.pack(VERSION << 4 | self.form, self.small, self.large)

    @classmethod
    def read(cls, data: U8, offset: int) -> Self:
        """Raises PayloadError."""
        if offset + HEADER.size > data.size:
            raise PayloadError(f"cut short: {data.size - offset} bytes are no header")
        form, small, large = HEADER.unpack(data[offset : offset + HEADER.size].tobytes())
        if form >> 4 != VERSION:
            raise PayloadError(f"version {form >> 4} of the format, this runtime reads {VERSION}: or it is damaged")
        return cls(form & 15, small, large)
