"""A bundle opens only if every name, size and hash in it is right, and says what is not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import pytest
from tiny_bundle import CONFIG, MANIFEST, concepts, make, refused, reseal, write_json

import sam3_edge.bundle
from sam3_edge.bundle import Bundle, verify
from sam3_edge.concepts import read_concepts
from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.manifest import MAX_BYTES
from sam3_edge.spec import graph_specs

OLD = Path(__file__).parent / "fixtures" / "bundle_v1"
OLD_HASH = "14267e6b1e8afc4048f88b7f4e6a38dc0663a67faa8483a849f5e7d7d9ae8cc9"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path / "bundle")


def test_what_was_written_is_what_is_read(bundle: Bundle) -> None:
    for name in ("source", "config", "target", "scheme", "graphs", "tools", "report", "licence"):
        assert getattr(bundle, name) == getattr(MANIFEST, name)
    assert list(bundle.specs.values()) == [graph_specs(CONFIG)[name] for name in ("backbone", "detector")]
    assert bundle.graph("backbone").read_bytes() == (bundle.path / "graphs/backbone/model.onnx").read_bytes()
    assert bundle.file("report.json").read_text() == '{"relative_error": 1e-06}\n'
    assert [file.path for file in bundle.files] == sorted(file.path for file in bundle.files)
    assert len(bundle.files) == 11
    hashed: list[int] = []
    assert verify(bundle.path, bundle.hash, advance=hashed.append).hash == bundle.hash
    assert sum(hashed) == sum(file.bytes for file in bundle.files)


def test_summary_is_plain_json_with_sizes(bundle: Bundle) -> None:
    summary = json.loads(json.dumps(bundle.to_json()))
    assert summary["hash"] == bundle.hash and summary["licence"] == "Apache-2.0"
    assert summary["graphs"]["backbone"]["bytes"] == 1200  # with its external data
    assert summary["config"]["image_size"] == 28 and summary["source"]["name"] == "shapes"


def test_the_seal_is_exact_and_other_tools_can_check_it(bundle: Bundle) -> None:
    digest = hashlib.sha256((bundle.path / "bundle.json").read_bytes()).hexdigest()
    assert (bundle.path / "bundle.sha256").read_bytes() == f"{digest}  bundle.json\n".encode()
    assert digest == bundle.hash
    for wrong in (digest.upper(), f" {digest}", f"{digest} ", digest[:-1]):
        (bundle.path / "bundle.sha256").write_text(f"{wrong}  bundle.json\n")
        refused(bundle.path, "do not match")


def test_every_single_bit_flip_is_caught(bundle: Bundle) -> None:
    generator = random.Random(0)
    files = [path for path in sorted(bundle.path.rglob("*")) if path.is_file() and path.stat().st_size]
    sizes = [path.stat().st_size for path in files]
    chosen = generator.choices(files, sizes, k=500) + files * 5
    for path in chosen:
        good = path.read_bytes()
        bit = generator.randrange(8 * len(good))
        path.write_bytes(good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :])
        with pytest.raises(CheckError):
            verify(bundle.path)
        path.write_bytes(good)
    assert {path.name for path in chosen} >= {"bundle.json", "bundle.sha256", "model.onnx.data", "LICENSE"}
    verify(bundle.path)


def test_a_file_that_changed_after_it_was_hashed_is_hashed_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    hash_file = sam3_edge.bundle.file_sha256

    def counted(file: BufferedReader) -> str:
        calls.append(file.name)
        return hash_file(file)

    monkeypatch.setattr(sam3_edge.bundle, "file_sha256", counted)
    path = bundle.graph("backbone")
    bundle.graph("backbone")
    Bundle.open(bundle.path).file("graphs/backbone/model.onnx.data")
    assert len(calls) == 2
    verify(bundle.path)
    assert len(calls) == 2 + len(bundle.files)
    good, status = path.read_bytes(), path.stat()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(CheckError, match=r"model\.onnx is damaged"):
        bundle.graph("backbone")


def test_a_graph_answers_for_its_external_data(bundle: Bundle) -> None:
    (bundle.path / "graphs/backbone/model.onnx.data").write_bytes(bytes(900))
    bundle.graph("detector")
    with pytest.raises(CheckError, match=r"backbone/model\.onnx\.data is damaged.*again"):
        bundle.graph("backbone")


def test_a_graph_that_was_left_out_is_named(bundle: Bundle) -> None:
    with pytest.raises(CheckError, match=r"no graph 'text' \(it has backbone, detector\): export it"):
        bundle.graph("text")
    with pytest.raises(CheckError, match=r"no file 'tokenizer/vocab\.json'"):
        bundle.file("tokenizer/vocab.json")


def test_expected_hash_tells_tampering_from_accidents(bundle: Bundle) -> None:
    assert verify(bundle.path, f" {bundle.hash.upper()}\n")
    with pytest.raises(CheckError, match=r"not the expected one.*tampered"):
        verify(bundle.path, "0" * 64)
    with pytest.raises(UsageError, match="want 64 hex digits"):
        verify(bundle.path, bundle.hash[:12])
    reseal(bundle.path, lambda values: values.update(licence="none"))  # consistent, so only `expect` can tell
    assert verify(bundle.path).licence == "none"
    with pytest.raises(CheckError, match="tampered"):
        verify(bundle.path, bundle.hash)
    (bundle.path / "bundle.json").write_bytes(b"{}")
    with pytest.raises(CheckError, match="damaged"):
        verify(bundle.path)


def _link_file(folder: Path) -> None:
    os.rename(folder / "LICENSE", folder.parent / "LICENSE")
    os.symlink(folder.parent / "LICENSE", folder / "LICENSE")


def _link_folder(folder: Path) -> None:
    os.rename(folder / "graphs", folder.parent / "graphs")
    os.symlink(folder.parent / "graphs", folder / "graphs")


def _swap(folder: Path) -> None:
    one, two, aside = folder / "graphs/backbone", folder / "graphs/detector", folder / "aside"
    one.rename(aside), two.rename(one), aside.rename(two)


def _link_manifest(folder: Path) -> None:
    os.rename(folder / "bundle.json", folder.parent / "b.json")
    os.symlink(folder.parent / "b.json", folder / "bundle.json")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / "LICENSE").unlink(), "LICENSE is missing"),
    "extra": (lambda folder: (folder / "golden/.hidden").touch(), "'golden/.hidden' is not listed"),
    "truncated": (lambda folder: os.truncate(folder / "LICENSE", 39), "LICENSE has 39 bytes, want 40"),
    "swapped": (_swap, "graphs/"),
    "linked file": (_link_file, "'LICENSE' is a link"),
    "linked folder": (_link_folder, "'graphs' is a link"),
    "linked manifest": (_link_manifest, "bundle.json is a link"),
    "pipe": (lambda folder: os.mkfifo(folder / "golden/pipe"), "'golden/pipe' is a link or no plain file"),
    "no manifest": (lambda folder: (folder / "bundle.json").unlink(), "bundle.json is missing"),
    "no seal": (lambda folder: (folder / "bundle.sha256").unlink(), "bundle.sha256 is missing"),
    "hand-edited": (lambda folder: (folder / "bundle.json").write_bytes(b"{}"), "do not match"),
    "not JSON": (lambda folder: write_json(folder, b"{'a': 1}"), "not JSON"),
    "not text": (lambda folder: write_json(folder, b"\xff\xfe\xff"), "not JSON"),
    "not a number": (lambda folder: write_json(folder, b'{"report": NaN}'), "not JSON"),
    "too deep": (lambda folder: write_json(folder, b"[" * 100_000), "not JSON"),
    "not an object": (lambda folder: write_json(folder, b"[]"), "want an object"),
    "duplicate key": (
        lambda folder: write_json(folder, b'{"report": {"a": 1, "a": 2}}'),
        "key 'a' occurs twice",
    ),
    "oversize": (lambda folder: write_json(folder, b" " * MAX_BYTES + b"{}"), "over 1048576 bytes"),
}


@pytest.mark.parametrize(("damage", "fact"), BROKEN.values(), ids=BROKEN)
def test_a_broken_directory_isrefused(bundle: Bundle, damage: Callable[[Path], object], fact: str) -> None:
    damage(bundle.path)
    refused(bundle.path, fact)


def test_nothing_to_open(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(SourceError, match="does not exist: give the directory"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="is a file, not a directory"):
        Bundle.open(bundle.path / "LICENSE")
    refused(bundle.path / "golden", "bundle.json is missing")


def test_a_link_put_in_after_opening_is_not_followed(bundle: Bundle) -> None:
    _link_folder(bundle.path)
    with pytest.raises(CheckError, match="is a link"):
        bundle.graph("backbone")


def test_a_link_to_a_bundle_opens_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    os.symlink(bundle.path, tmp_path / "latest")
    assert Bundle.open(tmp_path / "latest").path == bundle.path


def test_bundles_of_schema_1_load_for_ever(tmp_path: Path) -> None:
    old = verify(shutil.copytree(OLD, tmp_path / "old"), OLD_HASH)
    assert (old.target, old.scheme, old.licence) == ("onnx", "fp32", "Apache-2.0")
    assert (old.config.image_size, old.config.global_layers, old.config.text_length) == (28, (1,), 4)
    assert old.graph("backbone").stat().st_size == 300
    assert read_concepts(old)["blue square"][0].shape == concepts()["blue square"][0].shape
