"""Top-K on a GPU, in Triton: the same bytes as compression/topk_encode.py, without the vector leaving the card.

    select   one program a chunk: residual + values, exact threshold by bisection, positions and values side by side
    levels   ranks among the kept (each with each), means of groups, signs and levels, what stays in the residual
    lengths  bits of each chunk, whose sums say where it begins
    pack     each chunk's bits, ORed into words that its neighbours share

The vector is read twice (values and residual) and written once; all else is a few per cent of it. For 1 to 4 bits a
value: what has 8 bits and more is not what a slow network wants. Integers decide everything, floats are added and
subtracted only, so a card gives what numpy gives. Not imported by servers: it needs torch and triton.
"""

from typing import Any, Final

import torch
import triton
import triton.language as tl

from deepseek_runtime.compression.errors import NonFinite
from deepseek_runtime.compression.form import (
    COUNT_BITS,
    ESCAPE,
    LARGEST_UNIT,
    LEVELS,
    STEP_RICE,
    TOP_RICE,
    UNIT_BITS,
    UNIT_SHIFT,
    keep,
    rice_parameter,
)
from deepseek_runtime.compression.topk import TopK
from deepseek_runtime.space import CHUNK

MOST_KEPT: Final = 512
"""Of a chunk: ranks are found by comparing each with each."""

_INFINITY: Any = tl.constexpr(0x7F800000)
_COUNT_BITS: Any = tl.constexpr(COUNT_BITS)
_ESCAPE: Any = tl.constexpr(ESCAPE)
_LARGEST_UNIT: Any = tl.constexpr(LARGEST_UNIT)
_TOP_RICE: Any = tl.constexpr(TOP_RICE)
_UNIT_BITS: Any = tl.constexpr(UNIT_BITS)
_UNIT_SHIFT: Any = tl.constexpr(UNIT_SHIFT)
_HALF_UNIT: Any = tl.constexpr(1 << (UNIT_SHIFT - 1))
_LONGEST: Any = tl.constexpr(ESCAPE + 1 + UNIT_BITS)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _select(  # type: ignore[no-untyped-def]
    values, owed, residual, positions, kept_values, counts, bad, n, limit_full, limit_last,
    CHUNK: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    base = chunk.to(tl.int64) * CHUNK
    i = tl.arange(0, CHUNK)
    inside = base + i < n
    total = tl.load(values + base + i, inside, 0.0) + tl.load(owed + base + i, inside, 0.0)
    key = total.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    largest = tl.max(key)
    if largest >= _INFINITY:
        tl.atomic_min(bad, chunk)
    tl.store(residual + base + i, total, inside)
    limit = tl.where(base + CHUNK < n, limit_full, limit_last)
    nonzero = tl.sum((key > 0).to(tl.int32))
    # A t with `limit` keys from it on, or the largest with more; with fewer nonzero ones than that, 1. It is mostly
    # within three octaves of the largest.
    near = tl.maximum(largest - (3 << 23), 1)
    low = tl.where(tl.sum((key >= near).to(tl.int32)) >= limit, near, 1)
    high = largest + 1
    while high - low > 1:
        middle = low + (high - low) // 2
        count = tl.sum((key >= middle).to(tl.int32))
        low = tl.where(count >= limit, middle, low)
        high = tl.where(count > limit, high, tl.where(count == limit, middle + 1, middle))
    above = tl.sum((key > low).to(tl.int32))
    equal = key == low
    ties = tl.where(nonzero <= limit, CHUNK, limit - above)
    first = equal & (tl.cumsum(equal.to(tl.int32), 0) <= ties)
    chosen = (key > low) | first
    place = tl.cumsum(chosen.to(tl.int32), 0) - 1
    tl.store(positions + chunk * ROOM + place, i, chosen)
    tl.store(kept_values + chunk * ROOM + place, total, chosen)
    tl.store(counts + chunk, tl.sum(chosen.to(tl.int32)))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _levels(  # type: ignore[no-untyped-def]
    residual, positions, kept_values, counts, units, codes, quotients,
    CHUNK: tl.constexpr, ROOM: tl.constexpr, PADDED: tl.constexpr, GROUPS: tl.constexpr, RICE: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    count = tl.load(counts + chunk)
    j = tl.arange(0, PADDED)
    there = j < count
    value = tl.load(kept_values + chunk * ROOM + j, there, 0.0)
    position = tl.load(positions + chunk * ROOM + j, there, 0)
    before = tl.load(positions + chunk * ROOM + j - 1, there & (j > 0), -1)
    tl.store(quotients + chunk, tl.sum(tl.where(there, (position - before - 1) >> RICE, 0)))
    key = value.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    sign = (value.to(tl.int32, bitcast=True) >> 31) & 1
    rank = tl.zeros([PADDED], tl.int32)
    for first in range(0, count, 16):  # not all with all at once: the compiler would write each comparison out
        m = first + tl.arange(0, 16)
        other = tl.load(kept_values + chunk * ROOM + m, m < count, 0.0).to(tl.int32, bitcast=True) & 0x7FFFFFFF
        before_it = (other[None, :] == key[:, None]) & (m[None, :] < j[:, None])
        larger = ((other[None, :] > key[:, None]) | before_it) & (m < count)[None, :]
        rank += tl.sum(larger.to(tl.int32), 1)
    group = tl.zeros([PADDED], tl.int32)
    for boundary in tl.static_range(1, GROUPS):
        group += (rank >= (count * boundary + GROUPS - 1) // GROUPS).to(tl.int32)
    top = tl.maximum(tl.max(tl.where(there, key, 0)) >> 23, 1)
    exponent = key >> 23
    mantissa = ((key & 0x7FFFFF) | ((exponent > 0).to(tl.int32) << 23)).to(tl.int64) << 16
    term = tl.where(there, mantissa >> tl.minimum(top - tl.maximum(exponent, 1), 40).to(tl.int64), 0)
    scale = ((top - 166 + 1023).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    unit = tl.full([], 0, tl.int32)
    level = tl.zeros([PADDED], tl.int32)
    for number in tl.static_range(GROUPS):
        member = there & (group == number)
        size = tl.sum(member.to(tl.int32))
        mean = tl.sum(tl.where(member, term, 0)).to(tl.float64) / tl.maximum(size, 1).to(tl.float64)
        bits = (mean * scale).to(tl.float32).to(tl.int32, bitcast=True)
        made = tl.minimum((bits + _HALF_UNIT) >> _UNIT_SHIFT, _LARGEST_UNIT)
        unit = tl.where(size > 0, made, unit)
        tl.store(units + chunk * GROUPS + number, tl.where(count > 0, unit, -1))
        level = tl.where(group == number, unit << _UNIT_SHIFT, level)
    magnitude = level.to(tl.float32, bitcast=True)
    left = value - tl.where(sign == 1, -magnitude, magnitude)
    tl.store(residual + chunk.to(tl.int64) * CHUNK + position, left, there)
    tl.store(codes + chunk * ROOM + j, sign | (group << 1), there)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _unit_length(difference, rice):  # type: ignore[no-untyped-def]
    quotient = difference >> rice
    return tl.where(quotient < _ESCAPE, quotient + 1 + rice, _LONGEST)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _lengths(  # type: ignore[no-untyped-def]
    counts, units, quotients, tops, lengths, chunks, kept,
    BLOCK: tl.constexpr, GROUPS: tl.constexpr, RICE: tl.constexpr, STEP_RICE: tl.constexpr, CODE_BITS: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = chunk < chunks
    count = tl.load(counts + chunk, inside, 0)
    # The top level of the last chunk that has any.
    at = chunk - 1
    last = tl.load(units + at * GROUPS, inside & (at >= 0), 0)
    while tl.max(((last < 0) & (at >= 0)).to(tl.int32)) > 0:
        at = tl.where(last < 0, at - 1, at)
        last = tl.where(last < 0, tl.load(units + at * GROUPS, inside & (at >= 0), 0), last)
    tl.store(tops + chunk, last, inside)
    above = tl.load(units + chunk * GROUPS, inside, 0)
    difference = above - last
    length = _unit_length((difference << 1) ^ (difference >> 31), _TOP_RICE)
    for number in tl.static_range(1, GROUPS):
        unit = tl.load(units + chunk * GROUPS + number, inside, 0)
        length += _unit_length(above - unit, STEP_RICE)
        above = unit
    values = count * (1 + RICE + CODE_BITS) + tl.load(quotients + chunk, inside, 0)
    head = tl.where(count == kept, 1, tl.where(count == 0, 2, 2 + _COUNT_BITS))
    tl.store(lengths + chunk, (head + tl.where(count > 0, length + values, 0)).to(tl.int64), inside)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _put(words, at, value, width, there):  # type: ignore[no-untyped-def]
    """ORs the low `width` bits (at most 32) of each value into words of 32 bits."""
    wide = value.to(tl.int64) << (at & 31)
    word = words + (at >> 5)
    tl.atomic_or(word, (wide & 0xFFFFFFFF).to(tl.uint32).to(tl.int32, bitcast=True), there, sem="relaxed")
    more = there & ((at & 31) + width > 32)
    tl.atomic_or(word + 1, ((wide >> 32) & 0xFFFFFFFF).to(tl.uint32).to(tl.int32, bitcast=True), more, sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _put_unit(words, at, difference, rice, unit, there):  # type: ignore[no-untyped-def]
    quotient = difference >> rice
    short = quotient < _ESCAPE
    zeros = tl.where(short, quotient, _ESCAPE)
    field = tl.where(short, difference - (quotient << rice), unit)
    width = zeros + 1 + tl.where(short, rice, _UNIT_BITS)
    _put(words, at, (1 | (field << 1)) << zeros, width, there)
    return at + width


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _pack(  # type: ignore[no-untyped-def]
    positions, counts, units, codes, quotients, tops, starts, words, kept,
    ROOM: tl.constexpr, PADDED: tl.constexpr, GROUPS: tl.constexpr, RICE: tl.constexpr, STEP_RICE: tl.constexpr,
    CODE_BITS: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    count = tl.load(counts + chunk)
    one = tl.arange(0, 1)
    at = tl.load(starts + chunk) + one
    head = tl.where(count == kept, 1, tl.where(count == 0, 2, count << 2)) + one
    width = tl.where(count == kept, 1, tl.where(count == 0, 2, 2 + _COUNT_BITS))
    _put(words, at, head, width, one == 0)
    at += width
    j = tl.arange(0, PADDED)
    there = j < count
    position = tl.load(positions + chunk * ROOM + j, there, 0)
    gap = position - tl.load(positions + chunk * ROOM + j - 1, there & (j > 0), -1) - 1
    ends = tl.cumsum(tl.where(there, (gap >> RICE) + 1, 0), 0) - 1
    start = tl.sum(at)
    _put(words, start + ends, tl.full([PADDED], 1, tl.int32), 1, there)
    start += tl.load(quotients + chunk) + count
    if RICE > 0:
        _put(words, start + j * RICE, gap & ((1 << RICE) - 1), RICE, there)
    at = start + count * RICE + one
    some = (one == 0) & (count > 0)
    above = tl.load(units + chunk * GROUPS + one)
    difference = above - tl.load(tops + chunk + one)
    at = _put_unit(words, at, (difference << 1) ^ (difference >> 31), _TOP_RICE, above, some)
    for number in tl.static_range(1, GROUPS):
        unit = tl.load(units + chunk * GROUPS + number + one)
        at = _put_unit(words, at, above - unit, STEP_RICE, unit, some)
        above = unit
    code = tl.load(codes + chunk * ROOM + j, there, 0)
    _put(words, tl.sum(at) + j * CODE_BITS, code, CODE_BITS, there)


class GpuTopK:
    """Top-K of one piece of `size` float32 on `device`, its room made once. ratio, value_bits: as compression's.

    Raises ValueError for what it is not made for: more than 4 bits a value, more than 512 of 4,096.
    """

    def __init__(self, size: int, ratio: float, value_bits: int, device: torch.device) -> None:
        self.size, self.value_bits = size, value_bits
        self._kept, self._last = keep(ratio, CHUNK), keep(ratio, size % CHUNK or CHUNK)
        if value_bits not in LEVELS or self._kept > MOST_KEPT:
            raise ValueError(
                f"value_bits must be 1 to 4 and ratio at most {MOST_KEPT / CHUNK}, got {value_bits} and {ratio}"
            )
        self._groups, self._rice = LEVELS[value_bits], rice_parameter(self._kept, CHUNK)
        self._room = max(self._kept, self._last)
        self._chunks = -(-size // CHUNK)

        def room(count: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
            return torch.zeros(count, dtype=dtype, device=device)

        slots = self._chunks * self._room
        self._positions, self._codes, self._values = room(slots), room(slots), room(slots, torch.float32)
        self._counts, self._quotients, self._tops = (room(self._chunks) for _ in range(3))
        self._units = room(self._chunks * self._groups)
        self._lengths = room(self._chunks, torch.int64)
        self._bad = room(1)
        most = self._room * (1 + self._rice + value_bits) + (CHUNK >> self._rice) + 15 + 26 * self._groups
        self._words = room(self._chunks * most // 32 + 2)

    def run(self, values: torch.Tensor, owed: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """residual = values + owed - decoded (it may be either); returns each chunk's end in bits, on the card.

        What is left to do is `payload`: nothing here waits for the card.
        """
        grid, size = (self._chunks,), {"ROOM": self._room, "GROUPS": self._groups, "RICE": self._rice}
        padded = triton.next_power_of_2(self._room)
        step = STEP_RICE[self.value_bits]
        self._bad.fill_(self._chunks)
        self._words.zero_()
        _select[grid](
            values, owed, residual, self._positions, self._values, self._counts, self._bad, self.size,
            self._kept, self._last, CHUNK=CHUNK, ROOM=self._room, num_warps=8,
        )  # fmt: skip
        _levels[grid](
            residual, self._positions, self._values, self._counts, self._units, self._codes, self._quotients,
            CHUNK=CHUNK, PADDED=padded, **size, num_warps=4,
        )  # fmt: skip
        _lengths[(triton.cdiv(self._chunks, 256),)](
            self._counts, self._units, self._quotients, self._tops, self._lengths, self._chunks, self._kept,
            BLOCK=256, GROUPS=self._groups, RICE=self._rice, STEP_RICE=step, CODE_BITS=self.value_bits,
        )  # fmt: skip
        ends = torch.cumsum(self._lengths, 0)
        starts = ends - self._lengths
        _pack[grid](
            self._positions, self._counts, self._units, self._codes, self._quotients, self._tops, starts, self._words,
            self._kept, PADDED=padded, STEP_RICE=step, CODE_BITS=self.value_bits, **size, num_warps=4,
        )  # fmt: skip
        return ends

    def payload(self, ends: torch.Tensor) -> bytes:
        """The piece, header and body, as SpanCodec writes it. Raises NonFinite; `residual` is void then."""
        bad = int(self._bad)
        if bad < self._chunks:
            raise NonFinite(bad * CHUNK)
        length = -(-int(ends[-1]) // 8)
        body = self._words[: length // 4 + 1].cpu().numpy().tobytes()[:length]
        form = TopK(_unused, CHUNK, self._kept, self.value_bits, self._rice, False)
        return form.header().pack() + body

    def encode(self, values: torch.Tensor, owed: torch.Tensor, residual: torch.Tensor) -> bytes:
        """`run` and `payload`."""
        return self.payload(self.run(values, owed, residual))


def _unused() -> Any:
    raise AssertionError("a header needs no kernels")
