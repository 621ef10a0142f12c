"""Engines are loaded if this installation built them, for this machine, and nobody touched them since."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sam3_edge.engines.cache import Built, EngineCache, Machine
from sam3_edge.engines.timing import Timings
from sam3_edge.errors import CheckError, UsageError

HASH = "ab" * 32
MACHINE = Machine("10.3.0", "12.6", "12.6", "Orin, 8.7")
BUILT = Built({"backbone": b"engine " * 100, "text": b"\0\1"}, "unfused", {"rungs": [{"seconds": 0.25}]})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    made = EngineCache(tmp_path / "cache" / "engines", tmp_path / "state" / "engines.key")
    made.save(HASH, MACHINE, BUILT)
    return made


def test_what_was_saved_is_loaded(cache: EngineCache) -> None:
    assert cache.load(HASH, MACHINE) == BUILT
    assert cache.load("cd" * 32, MACHINE) is None


def test_only_the_owner_may_read(cache: EngineCache) -> None:
    files = [path for path in cache.folder.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in (*files, cache.key_path)} == {0o600}
    assert (cache.folder / HASH).stat().st_mode & 0o777 == 0o700
    assert len(cache.key_path.read_bytes()) == 32 and cache.folder not in cache.key_path.parents


@pytest.mark.parametrize("field", ["tensorrt", "cuda", "driver", "gpu"])
def test_another_machine_builds_again(cache: EngineCache, field: str) -> None:
    other = replace(MACHINE, **{field: "11.4.1"})
    assert cache.load(HASH, other) is None
    cache.save(HASH, other, BUILT)
    assert cache.load(HASH, other) == BUILT and cache.load(HASH, MACHINE) is None


def test_a_lost_key_means_to_build_again(cache: EngineCache) -> None:
    cache.key_path.unlink()
    assert cache.load(HASH, MACHINE) is None
    cache.save(HASH, MACHINE, BUILT)
    assert cache.load(HASH, MACHINE) == BUILT


def flip(path: Path) -> None:
    """Change one bit of a file in place."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(place: Path, **changes: object) -> None:
    """Change the record and leave the signature."""
    kept = json.loads((place / "engines.json").read_bytes())
    kept["record"] |= changes
    (place / "engines.json").write_text(json.dumps(kept))


def refused(cache: EngineCache, *facts: str) -> None:
    with pytest.raises(CheckError) as caught:
        cache.load(HASH, MACHINE)
    message = str(caught.value)
    assert all(fact in message for fact in (*facts, "it is not loaded", "--overwrite")), message


def test_changed_engines_are_refused(cache: EngineCache) -> None:
    flip(cache.folder / HASH / "backbone.engine")
    refused(cache, "backbone.engine is not what was built")


def test_a_changed_record_is_refused(cache: EngineCache) -> None:
    lies: list[dict[str, object]] = [
        {"rung": "typed"},
        {"verdict": {}},
        {"machine": {}},
        {"bundle": "0" * 64},
    ]
    for changes in lies:
        cache.save(HASH, MACHINE, BUILT)
        edit(cache.folder / HASH, **changes)
        refused(cache, "was not signed here")


def test_engines_of_another_installation_are_refused(cache: EngineCache, tmp_path: Path) -> None:
    stranger = EngineCache(tmp_path / "theirs", tmp_path / "their.key")
    stranger.save(HASH, MACHINE, BUILT)
    shutil.rmtree(cache.folder / HASH)
    shutil.copytree(stranger.folder / HASH, cache.folder / HASH)
    refused(cache, "was not signed here")


def test_the_engines_of_one_bundle_are_no_others(cache: EngineCache) -> None:
    shutil.copytree(cache.folder / HASH, cache.folder / ("cd" * 32))
    assert cache.load("cd" * 32, MACHINE) is None


def test_what_others_may_write_or_lead_elsewhere_is_refused(cache: EngineCache) -> None:
    engine = cache.folder / HASH / "text.engine"
    engine.chmod(0o666)
    refused(cache, "others may write it")
    engine.chmod(0o600)
    engine.rename(engine.with_name("elsewhere"))
    engine.symlink_to("elsewhere")
    refused(cache, "is a link")
    engine.unlink()
    refused(cache, "No such file")


def test_a_record_that_is_none(cache: EngineCache) -> None:
    for text in ("", "[]", "{}", '{"record": 1, "mac": 2}'):
        (cache.folder / HASH / "engines.json").write_text(text)
        refused(cache, "engines.json")


def test_half_a_key_is_told(cache: EngineCache) -> None:
    cache.key_path.write_bytes(b"short")
    with pytest.raises(CheckError, match="has 5 bytes, want 32: remove it"):
        cache.load(HASH, MACHINE)


def test_a_failed_save_leaves_the_old_engines(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("sam3_edge.engines.cache.write_private", full)
    with pytest.raises(UsageError, match="No space left"):
        cache.save(HASH, MACHINE, Built({}, "fp32", {}))
    monkeypatch.undo()
    assert cache.load(HASH, MACHINE) == BUILT
    assert [path.name for path in cache.folder.iterdir()] == [HASH]


def test_what_was_timed_is_kept_for_the_next_build(cache: EngineCache) -> None:
    timings = Timings(cache, MACHINE)
    assert timings.read() == b""
    for data in (b"timed\nonce", b"timed twice", b""):
        timings.write(data)
        assert Timings(cache, MACHINE).read() == data
    assert timings.path.stat().st_mode & 0o777 == 0o600 and cache.load(HASH, MACHINE) == BUILT
    assert sorted(path.name for path in cache.folder.iterdir()) == sorted([HASH, "timing.cache"])


@pytest.mark.parametrize("field", ["tensorrt", "cuda", "driver", "gpu"])
def test_what_another_machine_timed_is_not_read(cache: EngineCache, field: str) -> None:
    Timings(cache, MACHINE).write(b"timed")
    other = Timings(cache, replace(MACHINE, **{field: "11.4.1"}))
    assert other.read() == b""
    other.write(b"elsewhere")
    assert other.read() == b"elsewhere" and Timings(cache, MACHINE).read() == b""


def test_timings_that_are_not_ours_are_not_read(cache: EngineCache, tmp_path: Path) -> None:
    timings = Timings(cache, MACHINE)

    def again() -> Path:
        timings.path.unlink(missing_ok=True)
        timings.write(b"timed " * 20)
        return timings.path

    flip(again())
    assert timings.read() == b""
    for junk in (b"", b"no json\nx", b"[]\nx", b'{"mac": 3}\nx'):
        again().write_bytes(junk)
        assert timings.read() == b""
    again().chmod(0o666)
    assert timings.read() == b""
    shutil.move(again(), tmp_path / "kept")
    timings.path.symlink_to(tmp_path / "kept")
    assert timings.read() == b""
    again()
    cache.key_path.unlink()
    assert timings.read() == b""
    timings.write(b"anew")  # with a new key
    assert timings.read() == b"anew"
