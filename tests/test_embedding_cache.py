"""The cache of embeddings: what it gives back is what the backbone gave, whatever happened to the folder."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import CONFIG

from sam3_edge import EmbeddingCache, Segmenter
from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes.on_script import ScriptedSession
from sam3_edge.tokenizer import Tokenizer

SHAPE = (1, CONFIG.grid**2, CONFIG.trunk_dim)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ENTRY = int(np.prod(SHAPE)) * 4 + 600  # bytes, at most: the array and what is around it


def model(bundle: str | None = "a" * 64, *, looks: int = 20) -> tuple[Segmenter, ScriptedSession]:
    """A model that sees something else at every look, so that a second one is noticed."""
    frames = ({"backbone": {"trunk_feature": np.full(SHAPE, look, np.float32)}} for look in range(looks))
    session = ScriptedSession(CONFIG, frames, keep=looks)
    phrases = Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({}))
    return Segmenter(CONFIG, session, phrases, bundle=bundle), session


def look_of(segmenter: Segmenter, picture: np.ndarray, cache: EmbeddingCache | Path) -> int:
    """Which look of the backbone the embedding is from."""
    values = np.unique(segmenter.session.fetch(segmenter.embed(picture, cache=cache).trunk["trunk_feature"]))
    assert len(values) == 1
    return int(values[0])


def test_a_picture_is_looked_at_once(tmp_path: Path) -> None:
    segmenter, session = model()
    assert look_of(segmenter, PICTURE, tmp_path) == 0 == look_of(segmenter, PICTURE.copy(), tmp_path)
    later = model()[0]  # another process, the same bundle
    assert look_of(later, PICTURE, tmp_path) == 0
    assert len(session.calls) == 1 and len(list(tmp_path.iterdir())) == 1
    assert segmenter.embed(PICTURE, cache=str(tmp_path)).size == (20, 30)


def test_another_picture_or_bundle_is_looked_at_anew(tmp_path: Path) -> None:
    segmenter, _ = model()
    other = PICTURE.copy()
    other[0, 0, 0] ^= 1
    looks = [look_of(segmenter, p, tmp_path) for p in (PICTURE, other, PICTURE.reshape(30, 20, 3))]
    assert looks == [0, 1, 2] and look_of(model("b" * 64)[0], other, tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 4


def test_without_a_cache_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    segmenter, session = model()
    segmenter.embed(PICTURE)
    segmenter.embed(PICTURE)
    assert len(session.calls) == 2 and not list(tmp_path.iterdir())


def test_clicks_use_it_too(tmp_path: Path) -> None:
    segmenter, session = model()
    segmenter.click(PICTURE, cache=tmp_path)
    segmenter.click(PICTURE, cache=tmp_path).add(3, 3)
    assert len(session.calls) == 1


def test_a_model_without_a_bundle_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a cache needs a bundle"):
        model(None)[0].embed(PICTURE, cache=tmp_path)


def kept(tmp_path: Path) -> tuple[Path, bytes]:
    """An entry of look 0."""
    assert look_of(model()[0], PICTURE, tmp_path) == 0
    (entry,) = tmp_path.iterdir()
    return entry, entry.read_bytes()


def test_a_damaged_entry_is_named_and_computed_again(tmp_path: Path) -> None:
    """Flipped bits anywhere: either the entry is refused, or the bit was of no account."""
    entry, good = kept(tmp_path)
    rng, named = np.random.default_rng(0), 0
    ends = [*range(70), *(len(good) - place for place in range(1, 95))]  # the zip's own
    for place in [*ends, *rng.integers(70, len(good) - 95, 36).tolist()]:
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        entry.write_bytes(damaged)
        segmenter = model()[0]
        segmenter.session.run("backbone", {"image": np.zeros((1, 3, 112, 112), np.float32)})  # look 0 is over
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            look = look_of(segmenter, PICTURE, tmp_path)
        assert look == len(caught), place
        assert all(str(entry) in str(warning.message) for warning in caught)
        named += len(caught)
    assert named > 100


@pytest.mark.parametrize(
    "kind", ["empty", "cut", "text", "pickle", "other shape", "other dtype", "other name"]
)
def test_what_is_no_entry(tmp_path: Path, kind: str) -> None:
    entry, good = kept(tmp_path)
    if kind == "pickle":
        np.savez(entry, trunk_feature=np.array([{"x": 1}], object))
    elif kind.startswith("other"):
        array = np.zeros(
            SHAPE[1:] if kind == "other shape" else SHAPE, "f8" if kind == "other dtype" else "f4"
        )
        arrays: dict[str, Any] = {"trunk" if kind == "other name" else "trunk_feature": array}
        np.savez(entry, **arrays)
    else:
        entry.write_bytes({"empty": b"", "cut": good[:-30], "text": b"no zip"}[kind])
    segmenter = model()[0]
    with pytest.warns(UserWarning, match=f"{entry.name} is damaged .*computed again"):
        assert look_of(segmenter, PICTURE, tmp_path) == 0
    assert entry.read_bytes() == good


def test_the_folder_is_bounded_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, most_bytes=3 * ENTRY)
    segmenter, _ = model()
    pictures = [np.full((9, 9, 3), level, np.uint8) for level in range(6)]
    for age, picture in enumerate(pictures[:3]):
        assert look_of(segmenter, picture, cache) == age
        os.utime(cache.path(picture, "a" * 64), (age, age))
    assert look_of(segmenter, pictures[0], cache) == 0  # used: now the newest
    left = tmp_path / ".someone.npz.12345678"
    left.write_bytes(b"killed while writing")
    os.utime(left, (0, 0))
    assert look_of(segmenter, pictures[3], cache) == 3
    assert {path.name for path in tmp_path.iterdir()} == {
        cache.path(pictures[i], "a" * 64).name for i in (0, 2, 3)
    }
    assert look_of(segmenter, pictures[1], cache) == 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= cache.most_bytes


def test_a_bound_that_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than the 1000 that it may have"):
        model()[0].embed(PICTURE, cache=EmbeddingCache(tmp_path, most_bytes=1000))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_other_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, good = kept(tmp_path)

    def full(path: Path, data: bytes) -> int:
        path.open("wb").write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResourceError, match="No space left"):
        model()[0].embed(PICTURE[1:], cache=tmp_path)
    assert list(tmp_path.iterdir()) == [entry] and entry.read_bytes() == good
