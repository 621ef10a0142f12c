"""Learn the byte-pair merges of a small vocabulary, as a CLIP merges file: each word becomes one token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Join every occurrence of a pair in a word, left to right."""
    joined: list[str] = []
    for part in word:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def learn_merges(words: Iterable[str]) -> str:
    """The merges file: most frequent pair first, ties in alphabetical order."""
    parts = [(*word[:-1], word[-1] + "</w>") for word in sorted(set(words))]
    lines = ["#version: 0.2"]
    while pairs := Counter(pair for word in parts for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        parts = [merge(word, best) for word in parts]
        lines.append(" ".join(best))
    return "\n".join(lines) + "\n"
