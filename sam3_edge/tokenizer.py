"""CLIP's byte-level BPE: a phrase to token ids.

Where the references differ, the official `sam3` tokenizer is followed, not `transformers`: html entities are
unescaped twice, curly quotes straightened, ligatures and full-width forms spelled out, control characters
dropped, a final sigma lower-cased as such, and no text spells a special token. Two things are left out: the
guesswork that repairs wrongly decoded text ("dÃ©jÃ "), and the official "<start_of_text>" becoming the token.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam3_edge.errors import CheckError, SourceError, UsageError

END = "</w>"  # what the last symbol of a word carries
FIXED = 2 * 256 + 2  # vocabulary besides the merges: bytes, bytes that end a word, start and end of text
CACHED_WORDS = 8192
GONE = -1

# CLIP numbers the bytes that print first; a byte that does not is written as the next character from U+0100.
PRINTED = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
HIDDEN = tuple(byte for byte in range(256) if byte not in PRINTED)
BYTE_IDS = {byte: index for index, byte in enumerate(PRINTED + HIDDEN)}
BYTE_CHARS = [chr(byte) for byte in PRINTED] + [chr(256 + index) for index in range(len(HIDDEN))]

LIGATURES = (0x132, 0x133, *range(0x1C4, 0x1CD), *range(0x1F1, 0x1F4), *range(0xFB00, 0xFB07))
CONTROLS = (*range(9), 0xB, *range(0xE, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))
PLAIN: dict[int, str | None] = {
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in (*LIGATURES, *range(0xFF01, 0xFFF0))},
    **dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'"),
    **dict.fromkeys(range(0x201C, 0x2020), '"'),
    **dict.fromkeys(CONTROLS, None),
    0x149: "'n",
    0xFB05: "ſt",
}
# For chunks in which every number stands alone: there, a run of word characters is letters or one number.
WORD = re.compile(r"'(?:[stmd]|re|ve|ll)|[^\W_]+|[\W_]+")


def bundled_merges() -> Path:
    """CLIP's own 48,894 merges, which SAM 3 uses: for checkpoints that come without a tokenizer."""
    return Path(__file__).parent / "data" / "clip_merges.txt.gz"


class Tokenizer:
    """Phrases to ids: 256 bytes, 256 bytes that end a word, the merges, start of text, end of text."""

    def __init__(self, merges: Mapping[tuple[int, int], int]) -> None:
        """`merges`: the ids of two neighbours to the id of their union; a smaller id is merged earlier."""
        self.vocab_size = len(merges) + FIXED
        self._word_ids = lru_cache(CACHED_WORDS)(partial(word_ids, merges=merges))

    @classmethod
    def read(cls, path: str | Path, *, vocab_size: int | None = None) -> Tokenizer:
        """Read a merges file: one merge per line, with or without a `#version` line, plain or gzip.

        With `vocab_size`, only the first `vocab_size - 514` merges count. Raises `SourceError` for a file
        that cannot be read and `CheckError` for one that has too few merges, or lines that are none.
        """
        lines = read_lines(Path(path))
        wanted = len(lines) if vocab_size is None else vocab_size - FIXED
        if not 0 <= wanted <= len(lines):
            raise CheckError(
                f"{path}: {len(lines)} merges, a vocabulary of {vocab_size} has {wanted}; "
                "give the merges file that belongs to the checkpoint"
            )
        return cls(number_merges(lines[:wanted], path))

    def encode(self, phrase: str, length: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Ids int32 [1, length] and which of them are valid, bool [1, length]; padding has id 0.

        A longer phrase loses its last tokens; the last valid id is always the end of text.
        Raises `UsageError` for a phrase with nothing in it.
        """
        tokens = self.tokens(phrase)
        if len(tokens) > length:
            tokens = [*tokens[: length - 1], tokens[-1]]
        ids = np.zeros((1, length), np.int32)
        ids[0, : len(tokens)] = tokens
        return ids, np.arange(length)[None] < len(tokens)

    def count(self, phrase: str) -> int:
        """Tokens of the whole phrase with start and end: what is above `encode`'s length is lost there."""
        return len(self.tokens(phrase))

    def tokens(self, phrase: str) -> list[int]:
        """Start of text, the phrase, end of text. Raises `UsageError` for a phrase with nothing in it."""
        text = clean(phrase)
        if not text:
            raise UsageError(
                f'phrase {phrase!r} is empty; name what to find, for example "yellow school bus"'
            )
        inner = chain.from_iterable(self._word_ids(word) for word in split_words(text))
        return [self.vocab_size - 2, *inner, self.vocab_size - 1]


def clean(phrase: str) -> str:
    """Lower-case NFC text with single spaces, as the module's first lines say."""
    text = html.unescape(html.unescape(phrase))
    # A shell hands over bytes that are not UTF-8 as lone surrogates, which have no bytes to look up.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = unicodedata.normalize("NFC", text.translate(PLAIN))
    return " ".join(text.lower().split())


def split_words(text: str) -> list[str]:
    """Cut clean text into English contractions, runs of letters, single numbers and runs of the rest."""
    apart = "".join(f" {char} " if unicodedata.category(char)[0] == "N" else char for char in text)
    return [word for chunk in apart.split() for word in WORD.findall(chunk)]


def word_ids(word: str, merges: Mapping[tuple[int, int], int]) -> tuple[int, ...]:
    """Merge the bytes of a word, the earliest merge first and from the left, until no neighbours have one.

    A heap, because a scan per merge takes a minute for one word of 100,000 letters.
    """
    ids = [BYTE_IDS[byte] for byte in word.encode()]
    ids[-1] += 256
    ids.append(GONE)  # closes the ring: the neighbour at both ends
    before, after = [*range(-1, len(ids) - 1)], [*range(1, len(ids)), 0]
    heap = [(merges[pair], left) for left, pair in enumerate(pairwise(ids)) if pair in merges]
    heapify(heap)
    while heap:
        union, left = heappop(heap)
        right = after[left]
        if merges.get((ids[left], ids[right])) != union:
            continue  # one of the two was merged with its other neighbour since
        ids[left], ids[right] = union, GONE
        after[left] = after[right]
        before[after[right]] = left
        for start in (before[left], left):
            pair = (ids[start], ids[after[start]])
            if pair in merges:
                heappush(heap, (merges[pair], start))
    return tuple(index for index in ids if index != GONE)


def read_lines(path: Path) -> list[str]:
    """The merges of a file as written, without the `#version` line."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: no readable merges file ({error}); want CLIP's merges.txt") from error
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return lines[1:] if "#version" in lines[0] else lines


def number_merges(lines: Sequence[str], path: str | Path) -> dict[tuple[int, int], int]:
    """Every merge by the ids of its halves. `CheckError` unless each joins known tokens into a new one."""
    symbols = [*BYTE_CHARS, *(char + END for char in BYTE_CHARS)]
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    merges: dict[tuple[int, int], int] = {}
    for number, line in enumerate(lines, 1):
        left, _, right = line.partition(" ")
        if left not in ids or right not in ids or left + right in ids:
            raise CheckError(
                f"{path}: merge {number}, {line!r}, does not join two known tokens into a new one"
            )
        merges[ids[left], ids[right]] = ids[left + right] = len(ids)
    return merges
