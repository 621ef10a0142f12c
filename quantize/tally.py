"""What a scheme did to a graph: operations that were compressed, and those that were not, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts, filled while a graph is rewritten. `kept` has an entry for each operation left as it was."""

    compressed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str) -> None:
        """One operation of this kind was compressed."""
        self.compressed[kind] += 1

    def keep(self, reason: str) -> None:
        """One operation was not."""
        self.kept[reason] += 1

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "compressed": dict(sorted(self.compressed.items())),
            "skipped": dict(sorted(self.kept.items())),
        }

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> Tally:
        """The inverse of `to_json`."""
        return cls(Counter(document["compressed"]), Counter(document["skipped"]))

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Of several graphs."""
        made = cls()
        for tally in tallies:
            made.compressed += tally.compressed
            made.kept += tally.kept
        return made
