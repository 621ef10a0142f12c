"""`bundle.json` is refused for whatever no writer of ours would have put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import MANIFEST, fill, make, refused, reseal

from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.manifest import GraphFile
from sam3_edge.staging import seal

Values = dict[str, Any]


def _renamed(path: str) -> Callable[[Values], object]:
    return lambda values: values["files"][0].update(path=path)


WRONG: dict[str, tuple[Callable[[Values], object], str]] = {
    "newer": (lambda values: values.update(schema_version=2, shards=[]), "written by a newer sam3-edge"),
    "schema 0": (lambda values: values.update(schema_version=0), "schema 0 never existed"),
    "schema true": (lambda values: values.update(schema_version=True), "schema_version is True"),
    "no licence": (lambda values: values.pop("licence"), "'licence' is missing"),
    "dated": (lambda values: values.update(created="now"), "'created' is unknown"),
    "kind": (lambda values: values.update(target=["onnx"]), "target is ['onnx']"),
    "source": (lambda values: values["source"].update(sha256="abc"), "'abc' is not a sha256"),
    "tool": (lambda values: values["tools"].update(onnx=1), "onnx is 1"),
    "absolute": (_renamed("/etc/passwd"), "'/etc/passwd' is not safe"),
    "drive": (_renamed("C:/boot.ini"), "'C:/boot.ini' is not safe"),
    "parent": (_renamed("golden/../../secret"), "'golden/../../secret' is not safe"),
    "here": (_renamed("./LICENSE"), "'./LICENSE' is not safe"),
    "empty part": (_renamed("golden//picture.png"), "'golden//picture.png' is not safe"),
    "backslash": (_renamed("golden\\picture.png"), "is not safe"),
    "newline": (_renamed("a\nb"), "'a\\nb' is not safe"),
    "no name": (_renamed(""), "'' is not safe"),
    "lists itself": (_renamed("bundle.json"), "'bundle.json' clashes"),
    "listed twice": (lambda values: values["files"].append(values["files"][0]), "'LICENSE' clashes"),
    "case twin": (_renamed("EMPTY.txt"), "clashes"),
    "folder twin": (_renamed("Graphs/other"), "clashes"),
    "size": (lambda values: values["files"][0].update(bytes=-1), "no valid size"),
    "hash": (lambda values: values["files"][0].update(sha256="F" * 64), "no valid size and sha256"),
    "file is text": (lambda values: values["files"].append("LICENSE"), "want an object"),
    "config and spec": (
        lambda values: values["config"].update(image_size=56),
        "do not follow from the config",
    ),
    "config": (lambda values: values["config"].update(image_size=30), "multiple of 28"),
    "config zero": (lambda values: values["config"].update(patch_size=0), "config: "),
    "config huge": (lambda values: values["config"].update(image_size=10**4000), "over 2**20"),
    "spec of later": (lambda values: values["spec"].update(tracker={}), "unknown to this sam3-edge"),
    "no spec": (lambda values: values["spec"].pop("backbone"), "'backbone' has no spec"),
    "graph": (lambda values: values["graphs"]["backbone"].pop("function"), "'function' is missing"),
    "graph outside": (lambda values: values["graphs"]["backbone"].update(path="LICENSE"), "want graphs/"),
    "no such graph": (
        lambda values: values["graphs"]["backbone"].update(path="graphs/a/b"),
        "not a listed file",
    ),
}


@pytest.mark.parametrize(("edit", "fact"), WRONG.values(), ids=WRONG)
def test_a_wrong_manifest_is_refused(tmp_path: Path, edit: Callable[[Values], object], fact: str) -> None:
    folder = make(tmp_path / "bundle").path
    reseal(folder, edit)
    refused(folder, fact)


def test_a_bundle_from_before_a_graph_was_invented_opens(tmp_path: Path) -> None:
    folder = make(tmp_path / "bundle").path
    reseal(folder, lambda values: values["spec"].pop("masks"))
    assert "masks" not in Bundle.open(folder).specs


def test_the_writer_keeps_to_what_the_reader_takes(tmp_path: Path) -> None:
    wrong = {
        "no plain JSON": replace(MANIFEST, report={"error": float("nan")}),
        "report.json": replace(MANIFEST, report={"rows": "x" * (1 << 20)}),
        "not a listed file": replace(MANIFEST, graphs={"text": GraphFile("graphs/text/model.onnx")}),
        "has no spec": replace(MANIFEST, graphs={"eyes": GraphFile("graphs/backbone/model.onnx")}),
    }
    fill(tmp_path)
    for fact, manifest in wrong.items():
        with pytest.raises(CheckError, match=fact):
            seal(tmp_path, manifest)
    (tmp_path / "blue square.png").touch()
    with pytest.raises(CheckError, match=r"'blue square\.png' is not safe"):
        seal(tmp_path, MANIFEST)
    assert not (tmp_path / "bundle.json").exists() and not (tmp_path / "bundle.sha256").exists()


def test_a_core_ml_package_and_its_functions(tmp_path: Path) -> None:
    fill(tmp_path)
    package = tmp_path / "graphs/memory/model.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data/weight.bin").write_bytes(b"weights")
    graphs = {name: GraphFile("graphs/memory/model.mlpackage", name) for name in ("exemplar", "masks")}
    seal(tmp_path, replace(MANIFEST, graphs=graphs))
    bundle = Bundle.open(tmp_path)
    assert bundle.graph("masks") == package and bundle.graphs["masks"].function == "masks"
    (package / "Data/weight.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(CheckError, match="is damaged"):
        bundle.graph("exemplar")
