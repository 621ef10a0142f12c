"""The ladder with a builder that is wrong on purpose: fused attention, half precision, or everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from test_engine_cache import MACHINE
from tiny_export import CONFIG, copying, job
from torch import nn

from sam3_edge import Bundle, registry
from sam3_edge.benchmarks import tensorrt_fit
from sam3_edge.engines import cache, ladder
from sam3_edge.engines.fit import fit_of
from sam3_edge.engines.rungs import RUNGS
from sam3_edge.errors import CheckError, ResourceError
from sam3_edge.export import pipeline, tensorrt_check
from sam3_edge.runtimes import on_tensorrt
from sam3_edge.runtimes.device_memory import Gpu
from sam3_edge.session import HostValues, Session, Value
from sam3_edge.spec import GraphSpec

GPU = Gpu("Orin", "8.7", "12.6", "12.6", True)
NAMES = [rung.name for rung in RUNGS]


@pytest.fixture(scope="module")
def bundle(exported: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model for TensorRT, not built here: that is another test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.load("target", "onnx"), "lower", copying(exported))
        patch.setattr(tensorrt_check, "builder_version", lambda: None)
        place = tmp_path_factory.mktemp("ladder") / "bundle"
        made, _ = pipeline.export(job(tiny_checkpoint, place, target="tensorrt"))
    return made


class Wrong(HostValues):
    """A session whose answers are spoiled in one graph, if its engine is one that the backend gets wrong."""

    def __init__(self, inner: Session, graph: str, spoiled: bool) -> None:
        self.inner, self.graph, self.spoiled = inner, graph, spoiled

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        answers = self.inner.run(graph, feeds)
        if self.spoiled and graph == self.graph:
            first = next(iter(answers))
            answers[first] = np.ascontiguousarray(answers[first][:, ::-1])
        return answers

    def close(self) -> None:
        self.inner.close()


@dataclass
class FakeBuilder:
    """Engines are the names of the files they are of; those in `wrong` compute wrongly."""

    wrong: set[str]
    refused: set[str] = field(default_factory=set)
    built: list[str] = field(default_factory=list)
    graph: str = "backbone"

    def build(self, path: Path, say: ladder.Say) -> bytes:
        if path.name in self.refused:
            raise CheckError(f"TensorRT does not build {path}: no tactic")
        self.built.append(f"{path.parent.name}/{path.name}")
        say(f"building {path.name}")
        return path.name.encode()

    def open(self, bundle: Bundle, engines: Mapping[str, bytes]) -> Session:
        inner = registry.load("target", "tensorrt").open_session(bundle, threads=1)
        return Wrong(inner, self.graph, engines[self.graph].decode() in self.wrong)


@pytest.mark.parametrize(
    ("wrong", "rung"),
    [
        ([], "typed"),
        (["model.onnx"], "unfused"),
        (["model.onnx", "unfused.onnx"], "attention_fp32"),
        (["model.onnx", "unfused.onnx", "attention_fp32.onnx"], "fp32"),
    ],
)
def test_the_first_rung_that_answers_rightly_wins(bundle: Bundle, wrong: list[str], rung: str) -> None:
    builder = FakeBuilder(set(wrong))
    said: list[str] = []
    built = ladder.climb(bundle, builder, said.append)
    assert built.rung == rung
    rows = built.verdict["rungs"]
    assert [row["rung"] for row in rows] == NAMES[: len(wrong) + 1]
    assert [row["passed"] for row in rows] == [False] * len(wrong) + [True]
    assert all(row["seconds"] > 0 and row["bytes"] > 0 for row in rows)
    assert set(built.engines) == set(bundle.graphs)
    assert f"rung {rung}: asking the golden questions" in said
    # A graph without attention is the same on the first three rungs, and is built once.
    once = [name for name in builder.built if name.startswith("memorize/")]
    assert once == [f"memorize/{file}" for file in ("model.onnx", "fp32.onnx")[: 1 + (rung == "fp32")]]


@pytest.mark.parametrize("graph", ["tracker_features", "memorize", "tracker_refine"])
def test_a_wrong_tracker_is_found_too(bundle: Bundle, graph: str) -> None:
    """The golden pictures ask the detector alone."""
    built = ladder.climb(bundle, FakeBuilder({"model.onnx"}, graph=graph))
    first = built.verdict["rungs"][0]
    assert built.rung == (
        "fp32" if graph == "memorize" else "unfused"
    )  # the rungs between are the same engine
    assert not first["passed"] and first["answers"]["missing"] == 0
    assert first["tracked"]["mask_iou"] < 0.98 or first["tracked"]["relative"] > 2e-2


@pytest.mark.parametrize("graph", ["tracker_init", "tracker_step"])
def test_the_clip_finds_a_wrong_tracker_by_itself(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    """Its masks and identities, with nothing said of single runs; and rightly answered it lets them pass."""
    monkeypatch.setattr(ladder, "worst", lambda bundle, session: {"mask_iou": 1.0, "relative": 0.0})
    built = ladder.climb(bundle, FakeBuilder({"model.onnx"}, graph=graph))
    first, *_, last = built.verdict["rungs"]
    assert not first["passed"] and first["answers"]["missing"] == 0
    clip = first["clip"]
    assert clip["missing"] or clip["extra"] or clip["min_iou"] < 0.98
    assert last["passed"] and last["clip"]["missing"] == last["clip"]["extra"] == 0
    assert built.rung == last["rung"] and last["clip"]["min_iou"] >= 0.98


def test_a_bundle_without_a_clip_is_not_judged(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "read_clip", lambda bundle: None)
    with pytest.raises(CheckError, match=r"no golden/clip\.json, so its tracker cannot be judged"):
        ladder.climb(bundle, FakeBuilder(set()))


def test_always_wrong_keeps_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path, FakeBuilder({rung.file for rung in RUNGS}))
    with pytest.raises(CheckError) as caught:
        on_tensorrt.make_engines(bundle)
    assert caught.value.exit_code == 5
    assert all(f"{name}: of " in str(caught.value) for name in NAMES)
    assert str(caught.value).count("in the clip of ") == len(NAMES) and "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.engine"))


def test_a_rung_that_does_not_build_is_not_the_last(bundle: Bundle) -> None:
    built = ladder.climb(bundle, FakeBuilder(set(), refused={"model.onnx"}))
    assert built.rung == "unfused" and "no tactic" in built.verdict["rungs"][0]["error"]


def set_up(monkeypatch: pytest.MonkeyPatch, place: Path, builder: FakeBuilder, free: int = 10**11) -> None:
    """A machine with a GPU and TensorRT, as far as the building of engines asks."""
    monkeypatch.setattr(on_tensorrt, "library", lambda: None)
    monkeypatch.setattr(on_tensorrt, "machine", lambda gpu: MACHINE)
    monkeypatch.setattr(Gpu, "current", classmethod(lambda kind: GPU))
    monkeypatch.setattr(on_tensorrt, "checked", lambda call: (free, free))
    monkeypatch.setattr(on_tensorrt, "DeviceBuilder", lambda gpu, timings: builder)
    monkeypatch.setattr(cache, "cache_folder", lambda: place / "cache")
    monkeypatch.setattr(cache, "key_file", lambda: place / "engines.key")


def test_engines_are_built_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    builder = FakeBuilder(set())
    set_up(monkeypatch, tmp_path, builder)
    first = on_tensorrt.make_engines(bundle)
    count = len(builder.built)
    assert on_tensorrt.make_engines(bundle) == first and len(builder.built) == count == len(bundle.graphs)
    on_tensorrt.make_engines(bundle, overwrite=True)
    assert len(builder.built) == 2 * count


def test_what_does_not_fit_is_not_begun(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builder = FakeBuilder(set())
    set_up(monkeypatch, tmp_path, builder, free=10**9)
    with pytest.raises(ResourceError, match=r"needs 1\.2 GB, and 1\.0 GB are free"):
        on_tensorrt.make_engines(bundle)
    assert not builder.built


def test_a_model_that_finds_nothing_cannot_be_judged(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "read_golden", lambda bundle: [])
    with pytest.raises(CheckError, match="no engine can be judged"):
        ladder.climb(bundle, FakeBuilder(set()))


def test_the_report_says_what_was_proved_and_what_not(bundle: Bundle) -> None:
    report = json.loads(bundle.file("report.json").read_bytes())["tensorrt"]
    assert "casts, ranges" in report["proves"] and "kernels" in report["does not prove"]
    assert set(report["graphs"]) == set(bundle.graphs) and report["builder"] is None
    for row in report["graphs"].values():
        assert row["floor"] == "10.3" and 0 < row["largest_fp16"]["value"] < 16_000
        assert row["memory"]["weights"] > 0 and row["memory"]["activations"] > 0
    assert bundle.scheme == "fp16" and bundle.path.name == "bundle"


def test_inspect_tells_what_fits(bundle: Bundle, exported: Path, command: Command) -> None:
    done = command("inspect", bundle.path, "--fit", "8GB")
    assert done.code == 0 and "needs 1.20 GB to build" in done.out and "while it runs MB" in done.out
    done = command("inspect", bundle.path, "--fit", "1.1 G", "--json")
    assert done.code == 6 and "needs 1.2 GB, and 1.1 GB are free" in done.error
    needs = done.document["needs"]
    assert {row["graph"] for row in needs["graphs"]} == set(bundle.graphs)
    most = max(row["activations"] for row in needs["graphs"])
    sizes = sum(row["weights"] + row["edges"] for row in needs["graphs"])
    assert needs["running"] == 1_200_000_000 + most + sizes
    for size in ("", "8 cats", "-1GB", "0GB", "8TB"):
        assert command("inspect", bundle.path, "--fit", size).code == 2
    done = command("inspect", exported, "--fit", "8GB")
    assert done.code == 5 and "does not say how much memory" in done.error


def test_the_table_of_boards_is_what_inspect_tells(
    bundle: Bundle, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lower(module: nn.Module, spec: GraphSpec, folder: Path, *, scheme: str) -> str:
        assert scheme == "fp32" and not list(folder.iterdir())
        return copying(exported)(module, spec, folder)

    monkeypatch.setattr(registry.load("target", "tensorrt"), "lower", lower)
    found = tensorrt_fit.needs(CONFIG)
    half, full = (found["schemes"][scheme] for scheme in ("fp16", "fp32"))
    want = {**fit_of(bundle).to_json(), "fits": list(tensorrt_fit.BOARDS)}
    for told in (half, want):
        told["graphs"].sort(key=itemgetter("graph"))  # they are told in another order
    assert half == want
    assert full["running"] > half["running"]
    huge = {"backbone": {"weights": 3 * 10**9, "edges": 0, "activations": 10**9}}
    assert tensorrt_fit.summed(huge)["fits"] == ["16GB", "64GB"]


def test_build_is_for_bundles_with_engines(bundle: Bundle, exported: Path, command: Command) -> None:
    assert "no engines to build" in command("build", exported).error
    done = command("build", bundle.path)
    assert done.code == 4 and "TensorRT does not import" in done.error and "docs/jetson.md" in done.error


def test_build_tells_the_rung_and_its_cost(
    bundle: Bundle, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_up(monkeypatch, tmp_path, FakeBuilder({"model.onnx"}))
    done = command("build", bundle.path, "--json")
    assert done.code == 0 and done.document["rung"] == "unfused"
    assert set(done.document["engines"]) == set(bundle.graphs)
    assert "wrong answers" in done.err and "build: rung unfused" in done.err
    assert command("build", bundle.path).out == "unfused\n"
