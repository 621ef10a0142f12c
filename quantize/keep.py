"""Which parts of a model are compressed less than the scheme says, and why: defaults, and what users ask for.

A place is `GRAPH/MODULE`, as in `backbone/blocks.0.mlp.layers.1`. The first row that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sam3_edge.errors import UsageError

# From nothing to the most: a row names the most that its places take.
LEVELS = ("fp32", "fp16", "w8")
ASKED = re.compile(r"(?P<graph>[a-z_]+)(?:\.(?P<module>[\w.\-]+))?=(?P<level>\w+)")
SPAN = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class Row:
    """Modules that stay at a level. `places` is a pattern of a whole place."""

    places: str
    level: str
    reason: str


HEADS = Row(
    r"detector/(box_bias|box_head|reference_head|presence_head|scorer)(\..*)?",
    "fp32",
    "boxes, presence and scores: a small bias of a logit flips the threshold, layers refine one another",
)
FIRST = Row(r"backbone/blocks\.0\..*", "fp16", "first block: errors there go through all the others")
TABLE = (
    HEADS,
    Row("backbone/patch", "fp32", "the picture itself: what is rounded here is wrong in every layer"),
    Row("exemplar/.*", "fp32", "geometry: fractions of a cell and sine codes, under 1 % of the weights"),
    Row(
        "masks/(query|instance|semantic)(\\..*)?",
        "fp32",
        "mask embedder and last products: drawn as they are",
    ),
    Row(
        r"(tracker_(init|step|refine)|memorize)/.*",
        "fp32",
        "the tracker's decoder and memory: errors live on for many frames, and there is nothing to gain",
    ),
    Row("text/project", "fp32", "the prompt's last product, 0.03 % of the weights"),
)


@dataclass(frozen=True)
class Keep:
    """Rows in their order: what the user asked for, then the defaults."""

    rows: tuple[Row, ...] = ()

    def of(self, place: str) -> Row | None:
        """The row of a place, None if it is compressed as far as the scheme goes.

        Core ML packages have underscores where modules have dots.
        """
        patterns = ((row, row.places.replace(r"\.", "[._]")) for row in self.rows)
        return next((row for row, pattern in patterns if re.fullmatch(pattern, place)), None)

    def to_json(self) -> list[str]:
        """What makes two keep-lists the same."""
        return [f"{row.places}={row.level}" for row in self.rows]


def edges(graph: str, layers: int, level: str) -> tuple[Row, ...]:
    """The first and the last block of a graph at a level: skipping them gains up to 9 dB in 4 bits."""
    reason = "first and last block: all goes through them, and errors there are the largest"
    ends = "|".join(str(block) for block in dict.fromkeys((0, layers - 1)))
    return (Row(rf"{graph}/blocks\.({ends})\..*", level, reason),)


def read_keep(asked: Sequence[str]) -> tuple[Row, ...]:
    """Rows from `GRAPH[.MODULE]=LEVEL`, as in `backbone.blocks.0-1=fp16`; a span of numbers is each of them.

    Raises `UsageError` for a text of another form or an unknown level.
    """
    rows = []
    for text in asked:
        found = ASKED.fullmatch(text)
        if found is None or found["level"] not in LEVELS:
            raise UsageError(
                f"--keep {text!r:.80}: want GRAPH[.MODULE]=LEVEL with a level of {', '.join(LEVELS)}, "
                "as in backbone.blocks.0-1=fp16"
            )
        rows.append(Row(pattern_of(found["graph"], found["module"]), found["level"], f"--keep {text}"))
    return tuple(rows)


def pattern_of(graph: str, module: str | None) -> str:
    """A graph, or a module of it, with all that is inside."""
    if module is None:
        return f"{graph}/.*"
    parts = []
    for part in module.split("."):
        span = SPAN.fullmatch(part)
        numbers = range(int(span[1]), int(span[2]) + 1) if span else ()
        parts.append(f"({'|'.join(map(str, numbers))})" if span else re.escape(part))
    return f"{graph}/{re.escape('.').join(parts)}(\\..*)?"
