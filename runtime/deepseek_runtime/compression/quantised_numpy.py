"""The quantisers' loops in plain numpy: what their bytes mean. quantised_numba.py must give the same."""

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8
from deepseek_runtime.compression.dense import from_bfloat16, to_bfloat16
from deepseek_runtime.compression.quantised import BLOCK
from deepseek_runtime.compression.topk_numpy import magnitude_bits, mean_of

U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]


def encode_quantised(residual: F32, value_bits: int) -> bytes:
    steps = np.array([_step(residual[at : at + BLOCK], value_bits) for at in range(0, residual.size, BLOCK)], np.uint16)
    codes = _codes(residual, _spread(steps, residual.size), value_bits)
    residual -= _values(codes, steps, value_bits)
    return steps.astype("<u2").tobytes() + _pack(codes, value_bits)


def check_quantised(data: U8, offset: int, size: int, value_bits: int) -> bool:
    steps, codes, spare = _read(data, offset, size, value_bits)
    worst = steps.size > 0 and int(steps.max()) >= 0x7F80
    if value_bits > 1:
        # No sum of a value and a step may leave the floats: a sender's largest step is a 127th (7th) of the largest.
        worst |= bool((np.abs(_values(codes, np.minimum(steps, 0x7F7F), value_bits)) == np.inf).any())
        worst |= bool((codes == -(1 << (value_bits - 1))).any())
    return not worst and not spare


def add_quantised(data: U8, offset: int, target: F32, scale: np.float32, value_bits: int) -> None:
    steps, codes, _ = _read(data, offset, target.size, value_bits)
    target += scale * _values(codes, steps, value_bits)


def _step(block: F32, value_bits: int) -> int:
    """bfloat16: 1 bit: the mean magnitude; else what the largest magnitude is a multiple of, rounded up
    (down, where the product would leave the floats)."""
    keys = magnitude_bits(block)
    if value_bits == 1:
        return int(to_bfloat16(np.array([mean_of(keys)], np.float32))[0])
    most = np.float32((1 << (value_bits - 1)) - 1)
    largest = np.array([keys.max()], np.uint32).view(np.float32)
    half = (int((largest / most).view(np.uint32)[0]) + 0xFFFF) >> 16
    with np.errstate(over="ignore"):
        reached = from_bfloat16(np.array([half], np.uint16)) * most
    return half if np.isfinite(reached[0]) else half - 1


def _codes(values: F32, steps: F32, value_bits: int) -> I64:
    if value_bits == 1:
        return np.signbit(values).astype(np.int64)
    most = (1 << (value_bits - 1)) - 1
    codes = np.rint(values / np.where(steps == 0, np.float32(1), steps))
    return np.clip(codes, -most, most).astype(np.int64)


def _values(codes: I64, steps: U16, value_bits: int) -> F32:
    """A code of 7 bits times a step of 8: exact in float32."""
    spread = _spread(steps, codes.size)
    if value_bits == 1:
        return np.where(codes == 1, -spread, spread)
    with np.errstate(over="ignore"):
        return codes.astype(np.float32) * spread


def _spread(steps: U16, size: int) -> F32:
    return np.repeat(from_bfloat16(steps), BLOCK)[:size]


def _pack(codes: I64, value_bits: int) -> bytes:
    """Two's complement, the lowest bits of a byte first."""
    if value_bits == 8:
        return codes.astype(np.int8).tobytes()
    if value_bits == 1:
        return np.packbits(codes.astype(np.uint8), bitorder="little").tobytes()
    nibbles = np.zeros(codes.size + codes.size % 2, np.uint8)
    nibbles[: codes.size] = codes & 15
    return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()


def _read(data: U8, offset: int, size: int, value_bits: int) -> tuple[U16, I64, bool]:
    """Steps, codes, and whether anything stands in the bits after the last code."""
    blocks = -(-size // BLOCK)
    steps = data[offset : offset + 2 * blocks].view("<u2").astype(np.uint16)
    raw = data[offset + 2 * blocks : offset + 2 * blocks + -(-size * value_bits // 8)]
    if value_bits == 8:
        return steps, raw.view(np.int8).astype(np.int64), False
    if value_bits == 1:
        bits = np.unpackbits(raw, bitorder="little").astype(np.int64)
        return steps, bits[:size], bool(bits[size:].any())
    nibbles = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1).astype(np.int64)
    return steps, ((nibbles ^ 8) - 8)[:size], bool(nibbles[size:].any())
