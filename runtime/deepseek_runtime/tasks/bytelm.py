"""A byte-level GPT on the Python sources of one package, pinned by name, version and sha256.

SymPy: torch needs it, so it is installed wherever a task runs; its wheel is the same on every platform. Files go to
training or validation by their hash; training is cut into windows of `context` bytes and the byte that follows each.
"""

import hashlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from deepseek_runtime.contract.exit_codes import MISSING_INPUT
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.tasks.task import Split, Task

PACKAGE: Final = "sympy"
VERSION: Final = "1.14.0"
SHA256: Final = "9f0ece20da5d8fa69223ac9398c85f88f5d35055a05196dc9459353d4df343e3"
"""Over the contents of all .py files in order of their paths in the package, 26,168,818 bytes."""

BYTES: Final = 256
TEST_ONE_OF: Final = 10
"""A file is validation when the first 8 bytes of its sha256, as a number, divide by this."""

U8 = npt.NDArray[np.uint8]


class ByteLM(Task):
    """layers, heads, width, context (bytes): the size of the model, 1.05 M parameters by default.

    eval_windows: windows of the validation part that `evaluate` reads, always the same ones.
    """

    def __init__(
        self, layers: int = 5, heads: int = 4, width: int = 128, context: int = 128, eval_windows: int = 256
    ) -> None:
        for name, value in (("layers", layers), ("heads", heads), ("context", context), ("eval_windows", eval_windows)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if width < 1 or width % heads:
            raise ValueError(f"width must be a multiple of heads ({heads}), got {width}")
        self._layers, self._heads, self._width, self._context = layers, heads, width, context
        self._eval_windows = eval_windows

    def model(self) -> nn.Module:
        return ByteGPT(self._layers, self._heads, self._width, self._context)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """Nats a byte; batch: int64 [N, context + 1]."""
        logits = model(batch[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def dataset(self, split: Split) -> "Windows":
        return Windows(sources()[split], self._context)

    def collate(self, samples: list[Any]) -> torch.Tensor:
        return torch.from_numpy(np.stack(samples).astype(np.int64))

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Mean loss over the fixed sample of validation windows, nats a byte."""
        device = next(model.parameters()).device
        losses = [float(self.loss(model, batch.to(device))) * len(batch) for batch in torch.split(self._validation, 32)]
        return {"loss": sum(losses) / len(self._validation)}

    @cached_property
    def _validation(self) -> torch.Tensor:
        windows = self.dataset("test")
        chosen = np.linspace(0, len(windows) - 1, min(self._eval_windows, len(windows))).astype(np.int64)
        return self.collate([windows[int(index)] for index in chosen])


class Windows(Dataset[U8]):
    """Windows of `context` + 1 bytes of `text`, beginning `context` apart: each byte is predicted once an epoch."""

    def __init__(self, text: U8, context: int) -> None:
        self._text = text
        self._context = context

    def __len__(self) -> int:
        return max(0, (len(self._text) - 1) // self._context)

    def __getitem__(self, index: int) -> U8:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self._context
        return self._text[start : start + self._context + 1]


class ByteGPT(nn.Module):
    """A decoder with norms before each part, learned positions, and one embedding for input and output.

    int64 [N, T] to logits [N, T, 256]; T up to `context`.
    """

    def __init__(self, layers: int, heads: int, width: int, context: int) -> None:
        super().__init__()
        self.bytes = nn.Embedding(BYTES, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, BYTES, bias=False)
        self.head.weight = self.bytes.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            # GPT-2's: what is added to the residual stream starts smaller, the more often that happens.
            into_stream = name.endswith(("out.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if into_stream else 0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.bytes(ids) + self.places.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


class _Block(nn.Module):
    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self._heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(n, t, 3, self._heads, width // self._heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(n, t, width))
        changed: torch.Tensor = x + self.down(functional.gelu(self.up(self.before_mlp(x))))
        return changed


@lru_cache(maxsize=1)
def sources() -> dict[Split, U8]:
    """The bytes of both parts. Raises JobRefused (66) when the package is missing, another version, or changed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise _refused(f"{PACKAGE} is not installed")
    installed = importlib.metadata.version(PACKAGE)
    if installed != VERSION:
        raise _refused(f"{PACKAGE} {installed} is installed")
    root = Path(found.submodule_search_locations[0])
    files = [path.read_bytes() for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).as_posix())]
    if hashlib.sha256(b"".join(files)).hexdigest() != SHA256:
        raise _refused(f"the files of the installed {PACKAGE} {VERSION} are not those of its wheel (sha256 differs)")
    parts: dict[Split, list[bytes]] = {"train": [], "test": []}
    for content in files:
        number = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        parts["train" if number % TEST_ONE_OF else "test"].append(content)
    return {split: np.frombuffer(b"".join(part), np.uint8) for split, part in parts.items()}


def _refused(what: str) -> JobRefused:
    return JobRefused(
        MISSING_INPUT,
        "DatasetNotFound",
        f"the task bytelm reads the sources of {PACKAGE} {VERSION}, but {what}: install {PACKAGE}=={VERSION}",
    )
