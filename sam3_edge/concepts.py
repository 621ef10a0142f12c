"""Concept packs: phrases with precomputed prompt tokens, so that the text encoder may stay at home."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError

# A JSON list and plain arrays, not an npz: a zip archive carries the date of writing.
PHRASES = "concepts/phrases.json"
TOKENS = "concepts/tokens.npy"
VALID = "concepts/valid.npy"

Tokens = NDArray[np.float32]  # [T, D]
Valid = NDArray[np.bool_]  # [T]


class ConceptPack(Mapping[str, tuple[Tokens, Valid]]):
    """phrase -> prompt tokens [T, D] and which of them are valid [T]. Arrays are read when first needed."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._rows = {phrase: row for row, phrase in enumerate(_phrases(bundle))}

    def __getitem__(self, phrase: str) -> tuple[Tokens, Valid]:
        row = self._rows[phrase]
        tokens, valid = self._arrays
        return np.array(tokens[row]), np.array(valid[row])

    def __contains__(self, phrase: object) -> bool:
        return phrase in self._rows  # Mapping's own would read the arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _arrays(self) -> tuple[Tokens, Valid]:
        config, count = self._bundle.config, len(self)
        tokens = _array(self._bundle, TOKENS, want=(np.dtype("<f4"), (count, config.text_length, config.dim)))
        return tokens, _array(self._bundle, VALID, want=(np.dtype(bool), (count, config.text_length)))


def read_concepts(bundle: Bundle) -> ConceptPack:
    """The bundle's precomputed phrases; none if it was exported without. Raises `CheckError` if damaged."""
    return ConceptPack(bundle)


def write_concepts(folder: Path, concepts: Mapping[str, tuple[Tokens, Valid]]) -> None:
    """Write `{phrase: (tokens [T, D], valid [T])}` into the bundle at `folder`, before it is sealed.

    The same concepts give the same bytes, in whatever order they come. Raises `UsageError` if there are none.
    """
    if not concepts:
        raise UsageError("the concept pack is empty: give at least one phrase")
    phrases = sorted(concepts)
    tokens = np.stack([concepts[phrase][0] for phrase in phrases]).astype("<f4")
    valid = np.stack([concepts[phrase][1] for phrase in phrases]).astype(bool)
    (folder / PHRASES).parent.mkdir(exist_ok=True)
    (folder / PHRASES).write_text(json.dumps(phrases, indent=0) + "\n", encoding="ascii")
    for name, array in ((TOKENS, tokens), (VALID, valid)):
        np.save(folder / name, np.ascontiguousarray(array), allow_pickle=False)


def _phrases(bundle: Bundle) -> list[str]:
    if all(file.path != PHRASES for file in bundle.files):
        return []
    data = bundle.file(PHRASES).read_bytes()
    try:
        phrases = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(bundle, PHRASES, "not JSON") from error
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise _damaged(bundle, PHRASES, "not a list of phrases")
    if len(set(phrases)) < len(phrases):
        raise _damaged(bundle, PHRASES, "a phrase occurs twice")
    return phrases


def _array(bundle: Bundle, name: str, *, want: tuple[np.dtype[Any], tuple[int, ...]]) -> NDArray[Any]:
    path = bundle.file(name)
    try:
        # Mapped, not loaded: 10 000 phrases of SAM 3 are 330 MB.
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(bundle, name, "not an array") from error
    if not isinstance(array, np.ndarray):  # a zip archive: np.load answers with what is in it
        raise _damaged(bundle, name, "not an array")
    if (array.dtype, array.shape) != want:
        raise _damaged(bundle, name, f"{array.dtype} {array.shape}, want {want[0]} {want[1]}")
    return array


def _damaged(bundle: Bundle, name: str, fact: str) -> CheckError:
    return CheckError(f"bundle {bundle.path}: {name} is {fact}; export the bundle again")
