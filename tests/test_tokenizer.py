"""The tokenizer gives the ids of both references, wherever they agree and where the official one rules."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.tokenizer import BYTE_CHARS, END, PLAIN, Tokenizer, bundled_merges, clean

START_ID, END_ID = 49406, 49407
SIGMA = 0x3A3  # the end of a word changes its lower case, and transformers does not look there


def letters(*ranges: tuple[int, int]) -> str:
    """Characters that Unicode 3.2 has, so that every Python draws the same ones."""
    codes = (code for first, last in ranges for code in range(first, last + 1))
    known = unicodedata.ucd_3_2_0.category
    return "".join(chr(c) for c in codes if known(chr(c)) != "Cn" and c not in PLAIN and c != SIGMA)


SCRIPTS = {
    "ascii": letters((0x61, 0x7A), (0x41, 0x5A)),
    "latin": letters((0x100, 0x17E), (0x180, 0x24F), (0x1E00, 0x1EFF)),
    "greek, cyrillic": letters((0x370, 0x3FF), (0x400, 0x4FF), (0x1F00, 0x1FFF)),
    "right to left": letters((0x591, 0x5F4), (0x60C, 0x6FE)),
    "indic": letters((0x901, 0x970), (0x981, 0x9FA), (0xB82, 0xBF2), (0xE01, 0xE5B), (0xF00, 0xFCF)),
    "east asian": letters((0x1100, 0x11F9), (0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3)),
    "marks": letters((0x300, 0x344), (0x346, 0x362), (0x61, 0x7A)),
    "numbers": letters((0x30, 0x39), (0x660, 0x669), (0x2070, 0x2189), (0x2460, 0x24FF), (0x3007, 0x3007)),
    "symbols": letters(
        (0x2010, 0x2017), (0x2020, 0x2027), (0x2030, 0x2057), (0x2190, 0x27BE), (0x3001, 0x303F)
    ),
    "punctuation": "!\"#$%'()*+,-./:;=?@[\\]^_`{|}~",
    "emoji": "😀🚌🚍🐕\u200d🦺👩🏽❤\ufe0f🇩🇪1\ufe0f\u20e3𝒞𝟘𐌰",
}
WORDS = "yellow school bus the dog that isn't 'til they'LL we've I'M he'd you're cat's 's 't 'still 2 in 1"
SPACES = (" ", " ", " ", " ", "  ", "\t", "\n", "\u2003", "\u3000", "\u2028", " \r\n ", "")
# Several of these in one phrase, and the official tokenizer may take it for wrongly decoded and repair it.
LATIN1 = " ".join(chr(code) for code in range(0xA1, 0x100))
OFFICIAL = (
    "&amp; &lt;b&gt; &eacute; &#39;s &amp;quot; &nbsp; &copy; Ⓐ&#x1F68C; R&D & A&B dog’s “the” ‘til ʼs ﬁre ŉ "
    "Ǆ ﬅ ＢＵＳ １２ ｶﾞ ΟΔΟΣ ΣΑΣ. \x07 \ufeff"
)


def phrases(count: int, extra: str = "") -> list[str]:
    """Phrases of 1 to 8 pieces (one in fifty: of 60), drawn from all scripts, plain words and `extra`."""
    draw = random.Random(20)
    words, extras = WORDS.split(" "), extra.split(" ")

    def piece() -> str:
        kind = draw.randrange(6 if extra else 5)
        if kind < 2:
            return draw.choice(words)
        if kind == 5:
            return draw.choice(extras)
        script = SCRIPTS[draw.choice(list(SCRIPTS))]
        return "".join(draw.choice(script) for _ in range(1 + draw.randrange(8)))

    def phrase(index: int) -> str:
        pieces = 60 if index % 50 == 0 else 1 + draw.randrange(8)
        return "".join(piece() + draw.choice(SPACES) for _ in range(pieces))

    return [phrase(index) for index in range(count)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.read(bundled_merges(), vocab_size=49408)


@pytest.fixture(scope="module")
def reference() -> Callable[[list[str]], list[list[int]]]:
    """The tokenizer of transformers, with a vocabulary that is spelled out here once more."""
    from transformers import CLIPTokenizer

    lines = gzip.decompress(bundled_merges().read_bytes()).decode().split("\n")[1:-1]
    merges = [tuple(line.split(" ")) for line in lines]
    tokens = [*BYTE_CHARS, *(char + END for char in BYTE_CHARS), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    judge = CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
    return lambda texts: [list(ids) for ids in judge(texts)["input_ids"]]


def test_equals_transformers(tokenizer: Tokenizer, reference: Callable[[list[str]], list[list[int]]]) -> None:
    texts = [text for text in phrases(12_000, LATIN1) if text.strip()]
    assert len(texts) > 11_900 and sum(len(text) > 200 for text in texts) > 200
    pairs = zip(texts, reference(texts), strict=True)
    assert [text for text, ids in pairs if tokenizer.tokens(text) != ids] == []


def test_equals_the_official_tokenizer(tokenizer: Tokenizer) -> None:
    """Recorded: `SimpleTokenizer` of the package sam3 0.1.4 with ftfy 6.3.1 over these same phrases."""
    texts = [text for text in phrases(10_100, OFFICIAL) if clean(text)]
    assert len(texts) > 10_000
    ids = json.dumps([tokenizer.tokens(text) for text in texts])
    assert (
        hashlib.sha256(ids.encode()).hexdigest()
        == "7dc6e45282786b653ce6b0c4ab32497131bcee811140da66f5951af6595c5062"
    )


@pytest.mark.parametrize(
    ("phrase", "ids"),
    [  # as recorded from the official tokenizer, which transformers follows in the first four only
        ("yellow school bus", [4481, 1228, 2840]),
        ("'Still  isn't the CAT'S!'", [568, 4267, 2923, 713, 518, 2368, 568, 13222]),
        ("3½ Ⅷ buses, 2nd_row", [274, 33613, 158, 227, 371, 12879, 267, 273, 1764, 318, 1044]),
        (
            "naïve café Éé 犬と猫 🚌",
            [1097, 35689, 563, 15304, 3459, 4166, 163, 232, 105, 34671, 163, 234, 360, 46891],
        ),
        ("the dog’s “bed”", [518, 1929, 568, 257, 2722, 257]),
        ("A&amp;B &lt;b&gt; &amp;eacute;", [320, 261, 321, 283, 321, 285, 4166]),
        ("ＢＵＳ ﬁsh ŉ ﬅ", [2840, 2759, 262, 333, 129, 123, 339]),
        ("ΟΔΟΣ", [138, 123, 138, 112, 138, 123, 139, 480]),
        ("a\x07b\ufeff", [3937]),
    ],
)
def test_known_ids(tokenizer: Tokenizer, phrase: str, ids: list[int]) -> None:
    assert tokenizer.tokens(phrase) == [START_ID, *ids, END_ID]


@pytest.mark.parametrize(
    "phrase", ["<|endoftext|> dog", "<|STARTOFTEXT|>", "<start_of_text>", "<end_of_text>"]
)
def test_no_text_is_a_special_token(tokenizer: Tokenizer, phrase: str) -> None:
    assert not {START_ID, END_ID} & set(tokenizer.tokens(phrase)[1:-1])


def test_padding(tokenizer: Tokenizer) -> None:
    ids, valid = tokenizer.encode("yellow school bus", 32)
    assert ids.shape == valid.shape == (1, 32) and ids.dtype == np.int32 and valid.dtype == bool
    assert ids.tolist() == [[START_ID, 4481, 1228, 2840, END_ID] + [0] * 27]
    assert valid.tolist() == [[True] * 5 + [False] * 27]


@pytest.mark.parametrize(("words", "kept"), [(29, 29), (30, 30), (31, 30), (500, 30)])
def test_truncation_keeps_the_end_of_text(tokenizer: Tokenizer, words: int, kept: int) -> None:
    ids, valid = tokenizer.encode("bus " * words, 32)
    assert ids.tolist() == [[START_ID] + [2840] * kept + [END_ID] + [0] * (30 - kept)]
    assert valid.sum() == kept + 2 and tokenizer.count("bus " * words) == words + 2


@pytest.mark.parametrize("phrase", ["", "  \t\n", "\u3000\xa0", "&nbsp;", "\ufeff\x00"])
def test_an_empty_phrase_is_refused(tokenizer: Tokenizer, phrase: str) -> None:
    for ask in (lambda: tokenizer.encode(phrase, 32), lambda: tokenizer.count(phrase)):
        with pytest.raises(UsageError, match=r"^phrase '.*' is empty; name what to find"):
            ask()


def test_anything_else_is_accepted(tokenizer: Tokenizer) -> None:
    """Arguments that are not UTF-8, and a word that a quadratic merge would take a minute for."""
    assert tokenizer.tokens("dog \udcff") == tokenizer.tokens("dog \ufffd")
    assert tokenizer.tokens("\ud83d\ude8c") == tokenizer.tokens("🚌")
    assert tokenizer.count("xyzzy" * 20_000) > 20_000


TINY = ["a b", "ab c</w>", "ab ab", "Ġ Ŀ</w>"]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("head", ["", "#version: 0.2\n", '"bpe_simple_vocab_16e6.txt#version: 0.2\n'])
def test_tiny_merges(tmp_path: Path, head: str) -> None:
    text = head + "\n".join(TINY) + "\n"
    files = write(tmp_path / "a.txt", text), write(tmp_path / "b.txt", text.replace("\n", "\r\n"))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(text.encode()))
    for path in (*files, tmp_path / "c.txt.gz"):
        tiny = Tokenizer.read(path, vocab_size=518)
        assert tiny.vocab_size == 518
        # a b c are bytes 64 65 66; "ab" is 512, "abc</w>" 513, "abab" 514, a final "b" 65 + 256.
        assert tiny.tokens("abc ABABABA 'd") == [516, 513, 514, 512, 64 + 256, 6, 67 + 256, 517]
        assert Tokenizer.read(path, vocab_size=515).tokens("abc") == [513, 512, 66 + 256, 514]
        assert Tokenizer.read(path).vocab_size == 518


@pytest.mark.parametrize("size", [519, 49408, 513, 0])
def test_too_few_merges_for_the_vocabulary(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "merges.txt", "\n".join(TINY))
    with pytest.raises(CheckError, match=rf"merges.txt: 4 merges, a vocabulary of {size} has .*; give the"):
        Tokenizer.read(path, vocab_size=size)


@pytest.mark.parametrize("line", ["a", "", "a b c", "zz a", "a b", '{"a": 1}'])
def test_a_line_that_is_no_merge_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "merges.txt", "\n".join([*TINY, line, "c d"]))
    with pytest.raises(CheckError, match=r"merges.txt: merge 5, .* does not join two known tokens"):
        Tokenizer.read(path)


def test_unreadable_merges(tmp_path: Path) -> None:
    packed = bundled_merges().read_bytes()
    (tmp_path / "cut.gz").write_bytes(packed[:5000])
    (tmp_path / "flipped.gz").write_bytes(packed[:5000] + bytes([packed[5000] ^ 1]) + packed[5001:])
    (tmp_path / "noise.gz").write_bytes(packed[:10] + b"\xff" * 20)
    (tmp_path / "latin.txt").write_bytes(b"a \xe9\n")
    for name in ("missing.txt", "cut.gz", "flipped.gz", "noise.gz", "latin.txt", "."):
        with pytest.raises(SourceError, match="no readable merges file"):
            Tokenizer.read(tmp_path / name)


def test_bundled_merges() -> None:
    """The first 48,894 merges of CLIP's file, byte for byte, packed without a name or a time."""
    data = bundled_merges().read_bytes()
    assert data[3:8] == bytes(5)  # gzip's flags and time
    lines = gzip.decompress(data).decode().split("\n")
    assert len(lines) == 48894 + 2 and (lines[0], lines[-1]) == ("#version: 0.2", "")
    assert (
        hashlib.sha256("\n".join(lines[1:]).encode()).hexdigest()
        == "d308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02"
    )
    assert "Copyright (c) 2021 OpenAI" in bundled_merges().with_name("clip_merges.LICENSE").read_text()
