"""Phrases to prompt tokens: from the bundle's concept pack, from a cache, or through the text graph."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3_edge.bundle import Bundle
from sam3_edge.concepts import read_concepts
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.session import Session
from sam3_edge.tokenizer import Tokenizer, clean

MERGES = "tokenizer/merges.txt"  # in a bundle; with .gz behind it when compressed
CACHED = 256  # phrases; 32 KB each at full size
SHOWN = 10

Prompt = tuple[NDArray[np.float32], NDArray[np.bool_]]  # tokens [T, D], which of them are valid [T]


class Phrases:
    """Prompt tokens by phrase. Without a tokenizer, only the phrases of `pack` are known."""

    def __init__(
        self,
        session: Session,
        *,
        length: int,
        pack: Mapping[str, Prompt] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.session, self.length, self.tokenizer = session, length, tokenizer
        self.pack = pack or {}
        self.names = {clean(name): name for name in self.pack}
        self.cache: OrderedDict[str, Prompt] = OrderedDict()

    def prompt(self, phrase: str) -> Prompt:
        """Tokens [T, D] and which are valid [T]. Case and spacing do not matter, as in the tokenizer.

        A phrase longer than the text encoder reads loses its end. Raises `UsageError` for an empty phrase,
        and for one that is neither packed nor can be encoded here.
        """
        name = clean(phrase)
        if name in self.names:
            return self.pack[self.names[name]]
        if name not in self.cache:
            self.cache[name] = self.encode(phrase)
            if len(self.cache) > CACHED:
                self.cache.popitem(last=False)
        self.cache.move_to_end(name)
        return self.cache[name]

    def truncated(self, phrases: Iterable[str]) -> Iterator[str]:
        """For each phrase that is longer than the text encoder reads, what will be ignored of it."""
        for phrase in phrases:
            if self.tokenizer is None or clean(phrase) in self.names:
                continue
            if (tokens := self.tokenizer.count(phrase)) > self.length:
                yield f"phrase {phrase[:40]!r}... has {tokens} tokens, only the first {self.length} count"

    def encode(self, phrase: str) -> Prompt:
        """Run the text graph."""
        if self.tokenizer is None:
            raise self.unknown(phrase)
        ids, valid = self.tokenizer.encode(phrase, self.length)
        tokens = self.session.run("text", {"token_ids": ids})["text_tokens"]
        return self.session.fetch(tokens)[0], valid[0]

    def unknown(self, phrase: str) -> UsageError:
        """The error for a phrase outside the pack of a bundle without a text encoder."""
        known = ", ".join(repr(name) for name in sorted(self.pack)[:SHOWN]) or "none"
        more = f" and {len(self.pack) - SHOWN} more" if len(self.pack) > SHOWN else ""
        return UsageError(
            f"phrase {phrase!r:.80}: this bundle has no text encoder and knows only {known}{more}; "
            "export it again with this phrase in --concepts, or without --no-text"
        )


def open_phrases(bundle: Bundle, session: Session) -> Phrases:
    """What the bundle can read: its concept pack, and its text encoder if it has one."""
    tokenizer = read_tokenizer(bundle) if "text" in bundle.graphs else None
    return Phrases(session, length=bundle.config.text_length, pack=read_concepts(bundle), tokenizer=tokenizer)


def read_tokenizer(bundle: Bundle) -> Tokenizer:
    """The tokenizer of a bundle with a text encoder."""
    merges = next((file.path for file in bundle.files if file.path.startswith(MERGES)), MERGES)
    return Tokenizer.read(bundle.file(merges), vocab_size=bundle.config.text_vocab)


def read_phrases(path: Path) -> tuple[str, ...]:
    """A concept list: UTF-8 text, a phrase per line; empty lines and lines that begin with # do not count.

    Raises `SourceError` if it cannot be read, `UsageError` if nothing is in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: cannot be read as UTF-8 text ({error}): give a phrase per line"
        ) from error
    phrases = tuple(
        dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    )
    if not phrases:
        raise UsageError(f"{path}: holds no phrase: give one per line")
    return phrases
