"""`sam3-edge export`: what it refuses, and what it says when it succeeds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import Command, sam3_edge
from tiny_bundle import snapshot
from tiny_export import CONFIG, PHRASES, copying

from sam3_edge import Bundle, registry
from sam3_edge.export import pipeline

NO_TORCH = "sys.modules['torch'] = None"


def test_export_without_torch(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "-o", tmp_path / "b")
    done = sam3_edge(*words, before=NO_TORCH)
    assert done.returncode == 4 and not done.stdout
    assert done.stderr == "error: export needs torch: pip install 'sam3-edge[export]'\n"
    assert snapshot(tmp_path) == {}


def test_export_says_that_the_default_is_not_sam_3(command: Command, tmp_path: Path) -> None:
    done = command("export", "--target", "onnx", "--dry-run", "-o", tmp_path / "b")
    assert done.code == 0 and done.document["checkpoint"] == "shapes_model"
    assert "built-in model `shapes`" in done.err and "--checkpoint facebook/sam3" in done.err
    assert snapshot(tmp_path) == {}


def test_a_scheme_that_is_judged(command: Command, tmp_path: Path, whole: Path) -> None:
    """Exported in fp32 first, then compressed; nothing is left but the one bundle."""
    out, target = tmp_path / "deep" / "er" / "b", registry.load("target", "onnx")
    few = ("--gate-pictures", "8", "--gate-clips", "0", "--threads", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "lower", copying(whole))
        patch.setitem(target.GATES, "fp32", target.GATES["fp16"])  # its weights were rounded once
        done = command("export", "--target", "onnx", "--scheme", "w8", "-o", out, *few, "--json")
    assert done.code == 0, done.err
    assert done.document["quantization"]["scheme"] == "w8" and Bundle.open(out).scheme == "w8"
    assert [path.name for path in tmp_path.rglob("*") if path.parent != out and out not in path.parents] == [
        "deep",
        "er",
        "b",
    ]


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("--scheme", "w8"), 2, "give --dataset FILE --pictures DIR"),
        (("--scheme", "palette6"), 2, "scheme palette6 is for coreml, not for onnx"),
        (("--keep", "backbone=fp32"), 2, "--keep is for schemes below 16 bits"),
        (("--checkpoint", "absent/"), 3, "absent/: no such file or folder"),
        (("--checkpoint", "absent.safetensors"), 3, "absent.safetensors: no such file or folder"),
        (("--image-size", "57"), 2, "image size 57: want a multiple of 28"),
        (("--no-text",), 2, "--no-text leaves the bundle without words"),
        (("--concepts", "absent.txt"), 3, "absent.txt: cannot be read"),
        (("--concepts", "/dev/null"), 2, "/dev/null: holds no phrase"),
        (("--tokenizer", "absent.txt"), 3, "absent.txt: no such file"),
        (("--official",), 3, "want a .pt file in it"),
    ],
)
def test_export_of_what_cannot_be(
    command: Command,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    fact: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "-o", "b", *words)
    lines = [line for line in done.err.splitlines() if not line.startswith("export: ")]
    assert done.code == code and not done.out and len(lines) == 1
    assert lines[0].startswith("error: ") and fact in lines[0]
    assert snapshot(tmp_path) == {}


def test_export_over_something(
    command: Command, exported: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    before = snapshot(tmp_path)
    words = ("export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "-o", tmp_path / "mine")
    done = command(*words)
    assert done.code == 2 and done.error == f"{tmp_path / 'mine'} exists: pass --overwrite or another -o"
    done = command(*words, "--overwrite")
    assert done.code == 2 and "is no bundle that can be overwritten" in done.error
    assert snapshot(tmp_path) == before


def test_export_of_a_wrong_graph(
    command: Command, exported: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two weights of the lowered graph swapped: right in name, shape, size and kind, wrong in fact."""
    wrong = shutil.copytree(exported, tmp_path / "wrong")
    place = wrong / "graphs/exemplar/model.onnx.data"
    data = bytearray(place.read_bytes())
    data[0:64], data[64:128] = data[64:128], data[0:64]
    place.write_bytes(data)
    monkeypatch.setattr(registry.load("target", "onnx"), "lower", copying(wrong))
    done = command(
        "export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "-o", tmp_path / "b", "--json"
    )
    assert done.code == 5 and not done.out
    last = done.err.splitlines()[-1]
    assert "was not written, it is not the model: exemplar.exemplar_tokens differs by" in last
    assert os.listdir(tmp_path) == ["wrong"]


def test_export_on_a_full_disk(
    command: Command, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, cases: object) -> None:
        (folder / "weights").symlink_to("/dev/full")
        (folder / "weights").write_bytes(b"x")

    monkeypatch.setattr(pipeline, "write_golden", full)
    done = command("export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "-o", tmp_path / "b")
    assert done.code == 6 and "No space left on device" in done.err.splitlines()[-1]
    assert snapshot(tmp_path) == {}


def test_export_for_people_and_for_machines(
    command: Command, lower_copies: None, exported: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "phrases.txt").write_text("# mine\n" + "\n".join(PHRASES) + "\n", encoding="utf-8")
    words = ("export", "--checkpoint", tiny_checkpoint, "--target", "onnx")
    done = command(
        *words, "-o", tmp_path / "a", "--concepts", tmp_path / "phrases.txt", "--no-text", "--json"
    )
    assert done.code == 0 and done.document["hash"] == Bundle.open(tmp_path / "a").hash
    assert "text" not in done.document["graphs"] and done.document["config"] == {
        **CONFIG.to_json(),
        "global_layers": list(CONFIG.global_layers),
    }
    done = command(*words, "-o", tmp_path / "b")
    assert done.code == 0 and done.out == f"{tmp_path / 'b'}\n" and "\x1b" not in done.err
    assert "Against PyTorch" in done.err and "masks.semantic" in done.err
