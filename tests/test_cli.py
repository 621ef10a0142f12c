"""The command line: exit codes, one line per error, results on stdout and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest
from commands import Command, sam3_edge

from sam3_edge import Bundle, __version__, cli
from sam3_edge.cli import ALIASES, VERBS

NO_ONNXRUNTIME = "sys.modules['onnxruntime'] = None"


def test_help_and_version(command: Command) -> None:
    for words in ((), ("--help",), ("-h",)):
        done = command(*words)
        assert done.code == 0 and not done.err
        assert all(f"\n  {verb} " in done.out for verb in VERBS)
    assert command("--version").out == f"sam3-edge, version {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(command: Command, verb: str) -> None:
    done = command(verb, "--help")
    assert done.code == 0 and not done.err and f"Usage: sam3-edge {verb}" in done.out
    shown = registry_command(verb)
    assert all(p.help for p in shown.params if isinstance(p, click.Option)), "an option without help"


def registry_command(verb: str) -> click.Command:
    found = cli.cli.get_command(click.Context(cli.cli), verb)
    assert found is not None
    return found


def test_outputs_are_called_alike() -> None:
    for verb in ("benchmark", "demo", "eval", "export", "run"):
        names = {name for param in registry_command(verb).params for name in param.opts}
        assert {"-o", "--output"} <= names
    for verb in ("benchmark", "doctor", "eval", "export", "verify", "inspect", "run"):
        assert "--json" in {name for param in registry_command(verb).params for name in param.opts}


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("exprot",), "there is no command 'exprot': did you mean export?"),
        (("vrify", "x"), "did you mean verify?"),
        (("xyzzy",), f"choose from {', '.join(VERBS)}"),
        (("export",), "Missing option '--target' / '--format'. Choose from: coreml, onnx, tensorrt"),
        (("export", "--target", "abacus"), "'abacus' is not"),
        (("export", "--target", "onnx", "--scheme", "fp61"), "'fp61' is not one of 'fp32', 'fp16'"),
        (("export", "--target", "onnx", "--image-size", "big"), "'big' is not a valid integer"),
        (("export", "--target", "onnx", "--image-size", "0"), "0 is not in the range x>=1"),
        (("export", "--target", "onnx", "--max-boxes", "0"), "0 is not in the range x>=1"),
        (("export", "--target", "onnx", "--threads", "-1"), "-1 is not in the range x>=1"),
        (("run",), "Missing argument 'SOURCES...'"),
        (("run", "a.png", "--colour"), "No such option"),
        (("run", "a.png", "--prompt"), "Option '--prompt' requires an argument"),
        (("run", "a.png", "--prompt", "x", "--threshold", "2"), "2.0 is not in the range"),
        (("verify",), "Missing argument 'BUNDLE'"),
        (("inspect", "a", "b"), "unexpected extra argument (b)"),
    ],
)
def test_wrong_usage(command: Command, words: tuple[str, ...], fact: str) -> None:
    done = command(*words)
    assert done.code == 2 and not done.out
    assert fact in done.error and "--help)" in done.error


def test_aliases(command: Command, exported: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert ALIASES["predict"] == "run"
    assert "Missing argument 'SOURCES...'" in command("predict").error
    words = ("export", "--checkpoint", tiny_checkpoint, "--dry-run", "-o", tmp_path / "b")
    for flag, name in (("--target", "onnx"), ("--format", "onnx"), ("--format", "ort")):
        assert command(*words, flag, name).document["target"] == "onnx"


def test_a_bug_is_not_dressed_up(command: Command, monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    def fail(path: Path) -> Bundle:
        raise ZeroDivisionError

    monkeypatch.setattr(Bundle, "open", fail)
    with pytest.raises(ZeroDivisionError):
        command("inspect", exported)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (MemoryError, 6)])
def test_interruption_and_memory(
    command: Command, monkeypatch: pytest.MonkeyPatch, exported: Path, error: type[BaseException], code: int
) -> None:
    def fail(path: Path) -> Bundle:
        raise error

    monkeypatch.setattr(Bundle, "open", fail)
    done = command("inspect", exported)
    assert done.code == code and "Traceback" not in done.err


def test_inspect(command: Command, exported: Path) -> None:
    bundle, done = Bundle.open(exported), command("inspect", exported, "--json")
    assert done.code == 0 and not done.err
    assert done.document == json.loads(json.dumps(bundle.to_json()))
    shown = command("inspect", exported)
    assert shown.code == 0 and not shown.err  # the table is the result
    for text in (bundle.hash, "fp32", "Apache-2.0", "56 px", "tiny", *bundle.graphs):
        assert text in shown.out


def test_inspect_what_is_no_bundle(command: Command, tmp_path: Path, exported: Path) -> None:
    assert command("inspect", tmp_path / "absent").code == 3
    (tmp_path / "file").touch()
    assert "is a file, not a directory" in command("inspect", tmp_path / "file").error
    (tmp_path / "empty").mkdir()
    done = command("inspect", tmp_path / "empty", "--json")
    assert done.code == 5 and not done.out and "bundle.json is missing" in done.error


def test_verify(command: Command, exported: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(exported)
    done = command("verify", exported)
    assert done == (0, f"{bundle.hash}  {exported}\n", "")
    assert command("verify", exported, "--expect", bundle.hash.upper()).code == 0
    report = command("verify", exported, "--json", "--expect", bundle.hash).document
    want = {"bundle": str(exported), "hash": bundle.hash, "files": len(bundle.files), "expected": True}
    assert report == want
    other = command("verify", exported, "--expect", "0" * 64)
    assert other.code == 5 and not other.out and "is another bundle or was tampered with" in other.error
    assert command("verify", exported, "--expect", "yes").code == 2


def test_verify_finds_a_changed_byte(command: Command, exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    place = copy / "graphs/masks/model.onnx.data"
    data = bytearray(place.read_bytes())
    data[1000] ^= 1
    place.write_bytes(data)
    assert command("inspect", copy).code == 0  # only verify reads everything
    done = command("verify", copy, "--json")
    assert done.code == 5 and not done.out and "graphs/masks/model.onnx.data is damaged" in done.error


def test_replay(command: Command, exported: Path, exported_half: Path) -> None:
    for bundle in (exported, exported_half):
        done = command("verify", bundle, "--replay", "--json")
        answers = done.document["answers"]
        assert done.code == 0 and answers["objects"] >= 5 and not answers["missing"] + answers["extra"]
        first, second = done.err.splitlines()
        assert first == f"golden answers: all {answers['objects']} objects found again on this machine"
        assert second.startswith("golden clip: all ")


def test_replay_of_wrong_answers(command: Command, exported: Path, tmp_path: Path) -> None:
    from sam3_edge.staging import seal

    copy = shutil.copytree(exported, tmp_path / "copy")
    golden = copy / "golden/answers.json"
    rows = json.loads(golden.read_bytes())
    answer = next(answer for row in rows for answer in row["answers"] if answer["masks"])
    for key in ("masks", "scores", "found"):
        answer[key] = answer[key][:-1]
    golden.write_text(json.dumps(rows))
    seal(copy, Bundle.open(exported))
    done = command("verify", copy, "--replay")
    assert done.code == 5 and "0 are missing, 1 extra" in done.error
    shutil.rmtree(copy / "golden")
    seal(copy, Bundle.open(exported))
    done = command("verify", copy, "--replay")
    assert done.code == 5 and "no golden answers to replay" in done.error


def test_doctor(command: Command) -> None:
    done = command("doctor")
    assert done.code == 0 and "ok  backend onnx: onnxruntime" in done.out and not done.err
    report = command("doctor", "--json").document
    assert report["sam3_edge"] == __version__ and report["backends"]["onnx"]["ok"]
    assert report["packages"]["numpy"] and report["packages"]["tensorrt"] is None


@pytest.mark.parametrize("words", [(), ("--json",), ("--selftest",)])
def test_doctor_without_a_backend(words: tuple[str, ...]) -> None:
    done = sam3_edge("doctor", *words, before=NO_ONNXRUNTIME)
    assert done.returncode == 4
    assert done.stderr == "error: no backend works here: pip install 'sam3-edge[onnx]' for the processor\n"
    if "--json" in words:
        backend = json.loads(done.stdout)["backends"]["onnx"]
        assert not backend["ok"] and "pip install 'sam3-edge[onnx]'" in backend["detail"]
    else:
        assert "no  backend onnx: ONNX Runtime does not import" in done.stdout


def test_run_without_a_backend(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    words = ("run", tmp_path / "a.png", "--bundle", exported, "--prompt", "x", "-o", tmp_path / "out")
    done = sam3_edge(*words, before=NO_ONNXRUNTIME)
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "sam3-edge[onnx]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_device_part_needs_no_torch(exported: Path, tmp_path: Path) -> None:
    """The same commands with torch, onnx and transformers out of reach."""
    before = "\n".join(
        f"sys.modules[{name!r}] = None" for name in ("torch", "onnx", "onnx_ir", "transformers")
    )
    for words in (("inspect", exported), ("verify", exported, "--replay"), ("doctor",), ("export", "--help")):
        done = sam3_edge(*words, before=before, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
