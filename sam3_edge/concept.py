"""What to look for: a phrase, exemplar boxes, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sam3_edge.boxes import Box
from sam3_edge.errors import UsageError

# The reference's phrase for boxes without words.
VISUAL = "visual"


@dataclass(frozen=True)
class Concept:
    """A phrase ("yellow school bus"), boxes around examples of it (and of what it is not), or both.

    Raises `UsageError` when there is nothing to look for: an empty phrase, or negative boxes alone.
    """

    phrase: str | None = None
    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", tuple(self.boxes))
        if self.phrase is not None and not self.phrase.strip():
            raise UsageError("the phrase is empty: say what to look for, or give boxes without a phrase")
        if self.phrase is None and not self.boxes:
            raise UsageError("a concept without phrase and boxes: say what to look for, or draw a box")
        if self.phrase is None and not any(box.positive for box in self.boxes):
            raise UsageError(
                f"box {self.boxes[0]}: negative boxes alone name nothing; add a phrase or a positive box"
            )

    @property
    def text(self) -> str:
        """The phrase the model reads."""
        return VISUAL if self.phrase is None else self.phrase

    def __str__(self) -> str:
        return self.text


Asked: TypeAlias = "str | Concept | Sequence[str | Concept]"


def as_concepts(asked: Asked) -> list[Concept]:
    """What a caller asked for, as concepts. Raises `UsageError` for nothing at all."""
    several = [asked] if isinstance(asked, (str, Concept)) else list(asked)
    if not several:
        raise UsageError("no concept: give at least one phrase or box")
    return [Concept(item) if isinstance(item, str) else item for item in several]
