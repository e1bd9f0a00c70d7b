"""Method `lowrank`: a matrix as the product of two thin ones (PowerSGD, Vogels 2019, 1905.13727).

Per span, not per tensor: of each tensor (rows: its first dimension) the whole rows that a span holds are one matrix
M [rows, columns], approximated by P Q^T of rank r: P = the orthonormal basis of M Q, then Q = M^T P, one step of
power iteration a push that starts from the last push's Q. What M - P Q^T leaves is the residual, so later steps see
it again. Rows that a span's border cuts, vectors, and matrices that would not shrink by at least 2 go as bfloat16.

PowerSGD's own form sums P over all workers before Q is made, in two rounds; a parameter server has one, so each
worker sends its own P and Q, and the sum at the server has the rank of all of them together. P and Q are bfloat16,
row after row; decoding adds column by column in a fixed order, each product and each sum rounded to float32: no
matrix library does the same on every machine, and a worker's copy must equal the server's to the bit.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, U8, Encoder, How, Load
from deepseek_runtime.compression.dense import BFloat16, end_of, from_bfloat16, sum_into, to_bfloat16
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.header import Header
from deepseek_runtime.compression.pieces import Piece

U16 = npt.NDArray[np.uint16]

LOWRANK: Final = 4
"""Number of the form."""
ROWS: Final = 1 << 16
"""Elements decoded at once, about: no temporary as large as the matrix."""


@dataclass(frozen=True, slots=True)
class Slab:
    """The whole rows of a piece: elements start to stop of it."""

    start: int
    rows: int
    columns: int

    @property
    def stop(self) -> int:
        return self.start + self.rows * self.columns

    def pays(self, rank: int) -> bool:
        """Half of bfloat16 or less."""
        return self.rows > 1 and 2 * rank * (self.rows + self.columns) <= self.rows * self.columns


def slab_of(piece: Piece) -> Slab:
    start = min(-piece.first % piece.columns, piece.size) if piece.columns else 0
    rows = (piece.size - start) // piece.columns if piece.columns else 0
    return Slab(start, rows, piece.columns)


@dataclass(slots=True)
class LowRankEncoder:
    """Remembers Q between calls: one thread at a time. Losing it costs a few pushes' quality, nothing else."""

    load: Load
    slab: Slab
    rank: int
    _q: F32 | None = field(default=None, init=False)

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        kernels = self.load()
        sum_into(kernels, values, plus, residual)
        here = residual[self.slab.start : self.slab.stop]
        P, Q = self._factors(here.reshape(self.slab.rows, self.slab.columns))
        body = P.tobytes() + Q.tobytes()
        form = LowRank(self.load, self.slab, self.rank)
        data = np.frombuffer(body, np.uint8)
        form.add_product(data, 0, here, np.float32(-1))
        edges = [kernels.encode_bfloat16(edge) for edge in (residual[: self.slab.start], residual[self.slab.stop :])]
        return Header(LOWRANK, self.rank).pack() + body + b"".join(edges)

    def _factors(self, matrix: F32) -> tuple[U16, U16]:
        # In units of its largest value: no product leaves the floats. What Q itself cannot hold is clipped, and stays
        # in the residual.
        largest = max(float(np.abs(matrix).max()), 2.0**-120)
        unit = np.float64(2.0 ** np.floor(np.log2(largest)))
        scaled = matrix / np.float32(unit)
        if self._q is None:
            self._q = np.random.default_rng(0).standard_normal((self.slab.columns, self.rank)).astype(np.float32)
        P = np.linalg.qr(scaled @ self._q)[0].astype(np.float32)
        Q = scaled.T @ P
        size = np.linalg.norm(Q, axis=0)
        self._q = np.where(size > 0, Q / np.where(size > 0, size, 1), self._q).astype(np.float32)
        most = np.finfo(np.float32).max / (2 * self.rank)
        sent = np.clip(Q.astype(np.float64) * unit, -most, most).astype(np.float32)
        return to_bfloat16(P).astype("<u2"), to_bfloat16(sent).astype("<u2")


@dataclass(frozen=True, slots=True)
class LowRank:
    load: Load
    slab: Slab
    rank: int

    def check(self, data: U8, offset: int, size: int) -> int:
        slab = self.slab
        end = end_of(data, offset, self._bytes() + 2 * (size - slab.rows * slab.columns))
        if not self.load().check_bfloat16(data, offset, (end - offset) // 2):
            raise PayloadError("a bfloat16 value is not finite")
        P, Q = self._read(data, offset)
        # float64, so that the bound itself cannot overflow.
        most = (np.abs(P).max(axis=0).astype(np.float64) * np.abs(Q).max(axis=0)).sum()
        if most > np.finfo(np.float32).max:
            raise PayloadError("a product of two factors is not finite")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        slab, kernels = self.slab, self.load()
        self.add_product(data, offset, target[slab.start : slab.stop], scale)
        at = offset + self._bytes()
        for edge in (target[: slab.start], target[slab.stop :]):
            kernels.add_bfloat16(data, at, edge, scale)
            at += 2 * edge.size
        return at

    def add_product(self, data: U8, offset: int, target: F32, scale: np.float32) -> None:
        P, Q = self._read(data, offset)
        M = target.reshape(self.slab.rows, self.slab.columns)
        step = max(1, ROWS // self.slab.columns)
        for at in range(0, self.slab.rows, step):
            rows = P[at : at + step]
            total = rows[:, :1] * Q[:, 0]
            for column in range(1, self.rank):
                total += rows[:, column : column + 1] * Q[:, column]
            M[at : at + step] += scale * total

    def _bytes(self) -> int:
        return 2 * self.rank * (self.slab.rows + self.slab.columns)

    def _read(self, data: U8, offset: int) -> tuple[F32, F32]:
        halves = data[offset : offset + self._bytes()].view("<u2").astype(np.uint16)
        both = from_bfloat16(halves).reshape(-1, self.rank)
        return both[: self.slab.rows], both[self.slab.rows :]


def encoder(piece: Piece, load: Load, chunk: int) -> Encoder:
    slab, rank = slab_of(piece), piece.method.rank
    return LowRankEncoder(load, slab, rank) if slab.pays(rank) else BFloat16(load)


def decoder(piece: Piece, header: Header, load: Load, chunk: int) -> LowRank:
    slab, rank = slab_of(piece), header.small
    if header.large or not rank or not slab.pays(rank):
        raise PayloadError(f"rank {rank} of a piece that is no matrix for it")
    return LowRank(load, slab, rank)
