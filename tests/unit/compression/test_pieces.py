"""Rules over tensors' names, and matrices: how a span is cut, and that what is cut comes back whole."""

import numpy as np
import pytest

from builders.values import F32, span_of, values_of
from deepseek_runtime.compression import codec_for, tensors_of
from deepseek_runtime.compression.pieces import EXACT, HALF, Chosen, Piece, Tensor, pieces_of
from deepseek_runtime.contract.config import Compression, CompressionRule
from deepseek_runtime.space import Space, TensorSpec

TOPK = Chosen("topk", 0.05, 2, 4)
TENSORS = (Tensor("embedding", 0, 9000, 30), Tensor("body.0", 9000, 14000, 50), Tensor("body.1", 14000, 20000, 50))
RUNS = span_of(("weights", 20000), ("small", 7), ("buffers", 3))


def rules(*given: tuple[str, str]) -> Compression:
    return Compression(rules=tuple(CompressionRule(match=match, method=method) for match, method in given))  # type: ignore[arg-type]


def test_without_rules_a_run_is_a_piece() -> None:
    assert pieces_of(RUNS, Compression(), TENSORS) == (
        Piece(0, 20000, TOPK),
        Piece(20480, 20487, HALF),
        Piece(24576, 24579, EXACT),
    )


def test_the_first_rule_that_matches_counts_and_neighbours_are_one_piece() -> None:
    cut = pieces_of(RUNS[:1], rules(("embedding", "none"), ("*", "quantised"), ("body.1", "none")), TENSORS)
    assert [(piece.start, piece.stop, piece.method.method) for piece in cut] == [
        (0, 9000, "none"),
        (9000, 20000, "quantised"),
    ]


def test_buffers_match_no_rule() -> None:
    tensors = (*TENSORS, Tensor("norm", 20480, 20487, 1), Tensor("mean", 24576, 24579, 1))
    cut = pieces_of(RUNS, rules(("*", "quantised")), tensors)
    assert [piece.method for piece in cut[1:]] == [Chosen("quantised", 0.05, 2, 4), EXACT]


def test_a_matrix_is_cut_where_its_span_begins() -> None:
    tensors = (Tensor("body", -70, 20000, 50),)
    assert pieces_of(RUNS[:1], Compression(method="lowrank"), tensors) == (
        Piece(0, 20000, Chosen("lowrank", 0.05, 2, 4), 50, 70),
    )


@pytest.mark.parametrize("method", ["none", "topk", "quantised", "lowrank"])
@pytest.mark.parametrize("fast", [False, True], ids=["numpy", "numba"])
def test_what_is_sent_and_what_is_left_are_all_there_was(method: str, fast: bool) -> None:
    space = Space.build(
        [
            TensorSpec("embedding", (300, 40), "float32"),
            TensorSpec("body.weight", (200, 130), "float32"),
            TensorSpec("body.bias", (200,), "float32"),
            TensorSpec("head", (50, 3, 40), "float32"),
            TensorSpec("mean", (20,), "float32", "buffer"),
        ],
        spans=3,
    )
    settings = Compression.model_validate(
        {"method": method, "value_bits": 8, "rules": [{"match": "emb*", "method": "quantised", "value_bits": 4}]}
    )
    values = np.zeros(space.size, np.float32)
    for segment in space.segments:
        values[segment.offset : segment.stop] = values_of("gaussian", segment.size)
    for span in space.spans:
        codec = codec_for(span.runs, settings, tensors_of(space, span.index), fast=fast)
        here = values[span.start : span.stop]
        residual = np.empty_like(here)
        decoded = codec.decode(codec.encode(here, residual))
        np.testing.assert_allclose(decoded + residual, here, atol=1e-9)
        assert np.abs(residual).sum() <= np.abs(here).sum()


def _left(rank: int, matrix: F32, pushes: int) -> float:
    """What part of a matrix is still unsent after so many pushes, nothing new coming in."""
    codec = codec_for(
        span_of(("weights", matrix.size)),
        Compression(method="lowrank", rank=rank),
        [Tensor("w", 0, matrix.size, matrix.shape[1])],
    )
    residual = np.zeros(codec.size, np.float32)
    residual[: matrix.size] = matrix.reshape(-1)
    before = float(np.square(residual, dtype=np.float64).sum())
    for _ in range(pushes):
        codec.encode(residual, residual)
    return float(np.square(residual, dtype=np.float64).sum()) / before


def test_low_rank_finds_a_matrix_of_its_rank_and_gets_on_with_any_other() -> None:
    rng = np.random.default_rng(5)
    thin = (rng.standard_normal((90, 3)) @ rng.standard_normal((3, 120))).astype(np.float32)
    full = rng.standard_normal((90, 120)).astype(np.float32)
    assert _left(3, thin, 2) < 1e-4
    assert _left(4, full, 1) < 0.97
    assert _left(4, full, 30) < 0.7 * _left(4, full, 10)


def test_low_rank_stands_what_a_matrix_may_be() -> None:
    for matrix in (np.zeros((40, 60)), np.full((40, 60), 3e38), np.full((40, 60), 1e-44)):
        assert _left(2, matrix.astype(np.float32) + np.eye(40, 60, dtype=np.float32), 1) <= 1
