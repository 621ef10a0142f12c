"""The merges of a checkpoint's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from sam3_edge.errors import SourceError
from sam3_edge.tokenizer import bundled_merges, read_lines


def merges_of(folder: Path, given: Path | None, *, official: bool) -> Path | None:
    """The merges that belong to the checkpoint. Raises `SourceError` for a given file that is not there."""
    if given is not None:
        if not given.is_file():
            raise SourceError(f"{given}: no such file; give the merges.txt of the checkpoint's tokenizer")
        return given
    if (merges := folder / "merges.txt").is_file():
        return merges
    if (both := folder / "tokenizer.json").is_file():
        return same_as_bundled(both)
    return bundled_merges() if official else None


def same_as_bundled(path: Path) -> Path:
    """CLIP's merges, which are those in every SAM 3 `tokenizer.json`. Raises `SourceError` if they differ."""
    try:
        merges = json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: has no merges ({error}); pass --tokenizer merges.txt") from error
    if [m if isinstance(m, str) else " ".join(m) for m in merges] != read_lines(bundled_merges()):
        raise SourceError(f"{path}: not SAM 3's own tokenizer; pass --tokenizer merges.txt")
    return bundled_merges()
