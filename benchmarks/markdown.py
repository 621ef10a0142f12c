"""Tables for pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join([line(head), "|---" * len(head) + "|", *map(line, rows)]) + "\n"


def line(cells: Sequence[str]) -> str:
    """A row of one."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"
