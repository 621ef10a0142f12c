"""A concept pack gives back what was put in, from a sealed bundle, and nothing that is not sound."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import CONFIG, MANIFEST, concepts, fill, make, snapshot

from sam3_edge.bundle import Bundle
from sam3_edge.concepts import read_concepts, write_concepts
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.staging import seal


def test_phrases_come_back(tmp_path: Path) -> None:
    pack, wrote = read_concepts(make(tmp_path)), concepts()
    assert set(pack) == set(wrote) and len(pack) == 2 and "green square" not in pack
    for phrase, (tokens, valid) in wrote.items():
        assert pack[phrase][0].dtype == np.float32 and pack[phrase][1].dtype == bool
        np.testing.assert_array_equal(pack[phrase][0], tokens)
        np.testing.assert_array_equal(pack[phrase][1], valid)


def test_the_same_concepts_are_the_same_bytes(tmp_path: Path) -> None:
    wrote = concepts()
    for name, order in (("one", list(wrote)), ("two", list(reversed(wrote)))):
        (tmp_path / name).mkdir()
        write_concepts(tmp_path / name, {phrase: wrote[phrase] for phrase in order})
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_arrays_are_read_when_needed(tmp_path: Path) -> None:
    bundle = make(tmp_path)
    (tmp_path / "concepts/tokens.npy").write_bytes(bytes((tmp_path / "concepts/tokens.npy").stat().st_size))
    pack = read_concepts(bundle)
    assert "blue square" in pack
    with pytest.raises(CheckError, match=r"tokens\.npy is damaged"):
        pack["blue square"]


def test_a_bundle_without_concepts_has_none(tmp_path: Path) -> None:
    fill(tmp_path)
    for path in (tmp_path / "concepts").iterdir():
        path.unlink()
    seal(tmp_path, MANIFEST)
    assert dict(read_concepts(Bundle.open(tmp_path))) == {}


def test_no_concepts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is empty: give at least one phrase"):
        write_concepts(tmp_path, {})


@pytest.mark.parametrize(
    ("name", "data", "fact"),
    [
        ("phrases.json", b"[1, 2]", "not a list of phrases"),
        ("phrases.json", b"[", "not JSON"),
        ("phrases.json", b'["a", "a"]', "occurs twice"),
        ("phrases.json", b'["a"]', r"\(2, 4, 8\), want float32 \(1, 4, 8\)"),
        ("tokens.npy", b"", "not an array"),
        ("tokens.npy", b"PK\x03\x04 not a zip", "not an array"),
        ("tokens.npy", b"\x93NUMPY\x01\x00\x00\x00", "not an array"),
    ],
)
def test_a_pack_that_another_writer_sealed_wrongly(tmp_path: Path, name: str, data: bytes, fact: str) -> None:
    fill(tmp_path)
    (tmp_path / "concepts" / name).write_bytes(data)
    seal(tmp_path, MANIFEST)
    with pytest.raises(CheckError, match=f"{name} is .*{fact}|tokens.npy is .*{fact}"):
        dict(read_concepts(Bundle.open(tmp_path)))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    folder, trap = tmp_path / "bundle", Trap(tmp_path / "trapped")
    fill(folder)
    tokens = folder / "concepts/tokens.npy"
    for write in (
        lambda: tokens.write_bytes(pickle.dumps(trap)),
        lambda: np.save(tokens, np.full((2, CONFIG.text_length, CONFIG.dim), trap), allow_pickle=True),
    ):
        write()
        seal(folder, MANIFEST)
        with pytest.raises(CheckError, match="not an array"):
            read_concepts(Bundle.open(folder))["blue square"]
    assert not trap.folder.exists()
