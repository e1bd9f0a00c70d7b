"""Two instructions that numba has no words for: which of 64 integers reach a bound, and where the lowest bit is.

Numba's cache does not look at this file: whoever changes it changes the kernels that use it, too.
"""

from typing import Any

import llvmlite.ir as ir  # type: ignore[import-untyped, unused-ignore]
from numba import types  # type: ignore[import-untyped, unused-ignore]
from numba.extending import intrinsic  # type: ignore[import-untyped, unused-ignore]

LANES = 8
"""Compared by one instruction where registers hold 256 bits."""


def _reach(typing: Any, keys: Any, at: Any, bound: Any) -> Any:
    """reach(keys, at, bound): bit j is 1 where int32 keys[at + j] >= bound, for j from 0 to 63."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, first, bound = arguments
        made = context.make_array(signature.args[0])(context, builder, value=array)
        lanes = ir.VectorType(ir.IntType(32), LANES)
        none = ir.Constant(lanes, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        splat = builder.insert_element(none, bound, ir.Constant(ir.IntType(32), 0))
        bounds = builder.shuffle_vector(splat, none, zeros)
        mask = ir.Constant(ir.IntType(64), 0)
        for part in range(0, 64, LANES):
            place = builder.add(first, ir.Constant(first.type, part))
            pointer = builder.bitcast(builder.gep(made.data, [place]), lanes.as_pointer())
            reached = builder.icmp_signed(">=", builder.load(pointer, align=4), bounds)
            bits = builder.zext(builder.bitcast(reached, ir.IntType(LANES)), ir.IntType(64))
            mask = builder.or_(mask, builder.shl(bits, ir.Constant(ir.IntType(64), part)))
        return mask

    return types.uint64(keys, types.intp, types.int32), generate


def _lowest(typing: Any, mask: Any) -> Any:
    """lowest(mask): where the lowest 1 of a uint64 is, which must not be 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


reach: Any = intrinsic(_reach)
lowest: Any = intrinsic(_lowest)
