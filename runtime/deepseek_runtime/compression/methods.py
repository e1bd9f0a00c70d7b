"""The methods by name, and the forms by number: a new method is a file and a line here."""

from collections.abc import Callable, Mapping
from typing import Final

from deepseek_runtime.compression import lowrank, none, quantised, topk
from deepseek_runtime.compression.coding import Decoder, Encoder, Load
from deepseek_runtime.compression.dense import BFLOAT16, FLOAT32, BFloat16, Float32
from deepseek_runtime.compression.errors import PayloadError
from deepseek_runtime.compression.header import Header
from deepseek_runtime.compression.pieces import MethodName, Piece

METHODS: Final[Mapping[MethodName, Callable[[Piece, Load, int], Encoder]]] = {
    "none": none.encoder,
    "topk": topk.encoder,
    "dgc": topk.encoder,
    "quantised": quantised.encoder,
    "lowrank": lowrank.encoder,
}
"""What encodes a piece. `dgc` differs in what a worker adds up before (momentum.py), and in its one threshold."""

FORMS: Final[Mapping[int, Callable[[Piece, Header, Load, int], Decoder]]] = {
    FLOAT32: lambda piece, header, load, chunk: _plain(header, Float32(load)),
    BFLOAT16: lambda piece, header, load, chunk: _plain(header, BFloat16(load)),
    topk.TOPK: topk.decoder,
    quantised.QUANTISED: quantised.decoder,
    lowrank.LOWRANK: lowrank.decoder,
}
"""What reads a piece: a payload says by itself how, so a dense piece may come where a sparse one is usual."""


def encoder(piece: Piece, load: Load, chunk: int) -> Encoder:
    return METHODS[piece.method.method](piece, load, chunk)


def decoder(piece: Piece, header: Header, load: Load, chunk: int) -> Decoder:
    """Raises PayloadError for a header that nobody writes."""
    if header.form not in FORMS:
        raise PayloadError(f"unknown form {header.form}: made by another version, or damaged")
    return FORMS[header.form](piece, header, load, chunk)


def _plain(header: Header, form: Decoder) -> Decoder:
    if header.small or header.large:
        raise PayloadError("a dense piece with parameters")
    return form
