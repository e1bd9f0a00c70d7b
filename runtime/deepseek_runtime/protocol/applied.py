"""A set of range numbers: a watermark below which all are in, and the few above it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class AppliedSet:
    """Ranges 0 .. watermark - 1 and those in `above`."""

    watermark: int = 0
    above: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "AppliedSet":
        made = cls()
        for g in numbers:
            made.add(g)
        return made

    def __contains__(self, g: int) -> bool:
        return g < self.watermark or g in self.above

    def __len__(self) -> int:
        return self.watermark + len(self.above)

    def __iter__(self) -> Iterator[int]:
        yield from range(self.watermark)
        yield from sorted(self.above)

    def add(self, g: int) -> None:
        if g < self.watermark:
            return
        self.above.add(g)
        while self.watermark in self.above:
            self.above.remove(self.watermark)
            self.watermark += 1

    def remove(self, g: int) -> None:
        """Only of what is restored: a range that was another one when it was applied."""
        if g < self.watermark:
            self.above.update(range(g + 1, self.watermark))
            self.watermark = g
        self.above.discard(g)

    def copy(self) -> "AppliedSet":
        return AppliedSet(self.watermark, set(self.above))

    @property
    def end(self) -> int:
        """One more than the greatest number in the set."""
        return max(self.above, default=self.watermark - 1) + 1
