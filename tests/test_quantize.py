"""`quantize` from end to end on the built-in model: what it writes, refuses, and takes up again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from commands import Command
from PIL import Image
from tiny_bundle import snapshot

from sam3_edge import registry
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.golden_clip import read_clip
from sam3_edge.quantize import as_palette4, as_qdq_int8, as_w8, gate, job, pipeline
from sam3_edge.quantize.gate import Thresholds
from sam3_edge.quantize.job import Job
from sam3_edge.quantize.keep import read_keep

FEW = {"pictures": 8, "clips": 0, "threads": 1}
SMALL = ("--gate-pictures", "8", "--gate-clips", "0", "--threads", "1")


@pytest.fixture(scope="module")
def eight(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, pipeline.Receipt]:
    """It in w8, and the receipt. To be read only."""
    place = tmp_path_factory.mktemp("quantize") / "eight"
    return pipeline.quantize(Job(bundle=whole, scheme="w8", output=place, **FEW))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fixed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its backbone with fixed ranges, of w8a8: the file alone."""
    return fix_ranges(whole, tmp_path_factory.mktemp("fixed"))


def fix_ranges(whole: Path, folder: Path) -> Path:
    from sam3_edge.quantize import as_w8a8, calibration
    from sam3_edge.quantize.feeds import Recorder, read_feeds
    from sam3_edge.quantize.gate import segmenter_of
    from sam3_edge.quantize.keep import Keep

    bundle = Bundle.open(whole)
    shown = calibration.find(bundle, None, (), count=4)
    segmenter = segmenter_of(bundle, threads=1)
    calibration.show(segmenter_of(bundle, Recorder(segmenter.session, folder / "feeds", most=4)), shown)
    shutil.copytree(bundle.graph("backbone").parent, folder / "graph")
    path = folder / "graph" / bundle.graph("backbone").name
    feeds = read_feeds(folder / "feeds", "backbone")
    as_w8a8.compress(path, keep=Keep(as_w8a8.ROWS(bundle.config)), feeds=feeds)
    return path


def test_a_smaller_bundle_with_its_receipt(whole: Path, eight: tuple[Bundle, pipeline.Receipt]) -> None:
    bundle, receipt = eight
    told = json.loads(bundle.file("report.json").read_bytes())["quantization"]
    assert told == receipt.to_json() and bundle.scheme == "w8"
    assert told["bytes"] < 0.7 * told["bytes_before"] and told["gate"]["passed"]
    assert told["compressed"]["MatMul int8"] >= 60 and len(told["skipped"]) >= 4
    assert set(told["graphs"]) == set(bundle.specs)
    assert all(row["speed"]["ratio"] > 0 for row in told["graphs"].values())
    assert bundle.report["quantization"]["scheme"] == "w8"
    golden, asked = read_clip(bundle), read_clip(Bundle.open(whole))
    assert golden is not None and asked is not None and len(golden.seen) == len(asked.seen)
    untouched = {"tracker_step", "memorize", "exemplar"}
    for name in untouched:
        assert not sum(told["graphs"][name]["compressed"].values()), name


def kernels(path: Path, tmp_path: Path) -> dict[str, int]:
    """The operators that ONNX Runtime really runs for a graph, counted from its profile."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    feeds = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}
    session.run(None, feeds)
    rows = json.loads(Path(session.end_profiling()).read_text())
    ran = [row["args"]["op_name"] for row in rows if row["cat"] == "Node" and "op_name" in row["args"]]
    return {name: ran.count(name) for name in ran}


def test_integers_run_where_integers_were_promised(
    eight: tuple[Bundle, pipeline.Receipt], fixed: Path, tmp_path: Path
) -> None:
    bundle, receipt = eight
    promised = receipt.tallies["backbone"].compressed["MatMul int8"]
    ran = kernels(bundle.graph("backbone"), tmp_path)
    assert sum(ran.get(name, 0) for name in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul")) == promised
    graph = onnx.load(fixed, load_external_data=False).graph
    promised = sum(node.op_type == "MatMul" for node in graph.node if reads_integers(graph, node))
    ran = kernels(fixed, tmp_path)
    assert promised >= 8
    assert ran.get("QLinearMatMul", 0) + ran.get("MatMulIntegerToFloat", 0) >= promised


def reads_integers(graph: Any, node: Any) -> bool:
    back = {out for other in graph.node if other.op_type == "DequantizeLinear" for out in other.output}
    return all(name in back for name in node.input)


def test_what_makes_integers_floats_again_is_seen(fixed: Path, tmp_path: Path) -> None:
    """The bias as it was before `bias_apart`: ONNX Runtime's MatMulAddFusion makes fp32 Gemms of it."""
    place = shutil.copytree(fixed.parent, tmp_path / "graph") / fixed.name
    model = onnx.load(place)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("/apart"):
            del tensor.dims[:2]
    onnx.save(model, place)
    ran, right = kernels(place, tmp_path), kernels(fixed, tmp_path)
    assert ran.get("MatMulIntegerToFloat", 0) < right.get("MatMulIntegerToFloat", 0)


def test_a_large_graph_goes_part_by_part(
    whole: Path, fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the backbone were too large for one part: as many integers, and nearly the same feature."""
    from sam3_edge.quantize import onnx_parts

    data = onnx_parts.data_of(Bundle.open(whole).graph("backbone"))
    monkeypatch.setattr(onnx_parts, "SHARD", data.stat().st_size / 1.5)
    parted = fix_ranges(whole, tmp_path)
    assert kernels(parted, tmp_path) == kernels(fixed, tmp_path)
    assert not (parted.parent / onnx_parts.ASIDE).exists()
    sessions = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (fixed, parted)
    ]
    shape = sessions[0].get_inputs()[0].shape
    picture = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    one, other = (session.run(None, {"image": picture})[0] for session in sessions)
    assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one)


def test_two_bits_are_refused(whole: Path, tmp_path: Path, command: Command) -> None:
    """Weights of -1, 0 and 1. There is a report, and no bundle."""
    out = tmp_path / "two"
    done = command("quantize", whole, "--scheme", "w8", "--set", "limit=1", "-o", out, *SMALL)
    assert done.code == 5 and "does not find what the uncompressed bundle finds" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["two.report.json"]
    report = json.loads((tmp_path / "two.report.json").read_bytes())["quantization"]
    assert not report["gate"]["passed"] and report["settings"]["limit"] == 1


def test_thresholds_are_recorded(whole: Path, tmp_path: Path) -> None:
    """Let pass what was refused above, for who says so."""
    lax = dict.fromkeys(vars(Thresholds()), -1.0)
    asked: dict[str, Any] = {**FEW, "settings": {"limit": 1}, "thresholds": Thresholds(**lax)}
    bundle, _ = pipeline.quantize(Job(bundle=whole, scheme="w8", output=tmp_path / "lax", **asked))
    assert json.loads(bundle.file("report.json").read_bytes())["quantization"]["thresholds"] == lax


def test_an_interrupted_run_goes_on(
    whole: Path,
    eight: tuple[Bundle, pipeline.Receipt],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    compress = as_w8.compress

    def counted(path: Path, *words: Any, **named: Any) -> Any:
        asked.append(path.parent.name)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return compress(path, *words, **named)

    monkeypatch.setattr(as_w8, "compress", counted)
    wish = Job(bundle=whole, scheme="w8", output=tmp_path / "out", **FEW)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        pipeline.quantize(wish)
    assert [path.name for path in tmp_path.iterdir()] == [".out.unfinished"]
    bundle, _ = pipeline.quantize(wish)
    graphs = len(bundle.specs)
    assert len(asked) == graphs + 1 and set(asked) == set(bundle.specs)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for name in bundle.specs:
        assert bundle.graph(name).read_bytes() == eight[0].graph(name).read_bytes(), name


def test_keeping_parts(whole: Path, tmp_path: Path) -> None:
    rows = ("backbone=fp32", "detector=fp32", "text=fp32", "masks=fp32", "tracker_features=fp32")
    _, receipt = pipeline.quantize(
        Job(bundle=whole, scheme="w8", output=tmp_path / "b", keep=rows, **FEW)  # type: ignore[arg-type]
    )
    assert not receipt.tallies["backbone"].compressed and receipt.tallies["detector_features"].compressed
    for wrong in ("backbone", "backbone.blocks.0-1=int2", "=fp16"):
        with pytest.raises(UsageError, match="want GRAPH"):
            read_keep([wrong])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--scheme", "qdq_int8"), 2, "scheme qdq_int8 is for tensorrt"),
        (("--scheme", "int7"), 2, "there is no scheme 'int7'"),
        (("--scheme", "w8", "--set", "bits=2"), 2, "scheme w8 has no setting 'bits'"),
        (("--scheme", "w8", "--set", "limit"), 2, "want NAME=NUMBER"),
        (("--scheme", "w8", "--calibrate", "empty"), 2, "takes no calibration"),
        (("--scheme", "w8a8", "--calibrate", "nowhere"), 3, "no such file or folder"),
        (("--scheme", "w8a8", "--calibrate", "empty"), 2, "give --phrases FILE"),
        (("--scheme", "w8a8", "--calibrate", "empty", "--phrases", "words.txt"), 3, "there is no picture"),
        (("--scheme", "w8a8", "--calibrate", "broken", "--phrases", "words.txt"), 3, "broken"),
        (("--scheme", "w8a8", "--calibrate", "grey", "--phrases", "words.txt"), 3, "finds nothing in it"),
        ((), 2, "needs a bundle and a --scheme"),
    ],
)
def test_refusals(
    words: tuple[str, ...],
    code: int,
    said: str,
    whole: Path,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("empty", "broken", "grey"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (224, 224), (90, 90, 90)).save(tmp_path / "grey" / "a.png")
    (tmp_path / "words.txt").write_text("red circle\n")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    done = command("quantize", whole, *words, "-o", "out", *SMALL)
    assert done.code == code and said in done.err.splitlines()[-1]
    assert snapshot(tmp_path) == before


def test_compressed_already(tmp_path: Path, command: Command) -> None:
    done = command("quantize", builtin_bundle(), "--scheme", "w8", "-o", tmp_path / "out")
    assert done.code == 2 and "is in fp16 already" in done.error


def test_memory_is_asked_for_before_anything_starts(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    monkeypatch.setattr(job, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(gate, "ask", pytest.fail)
    with pytest.raises(ResourceError, match=r"needs about .* GB of memory, and 0\.0 GB are free"):
        pipeline.quantize(Job(bundle=whole, scheme="w8", output=tmp_path / "out"))


def test_known_corruptions_of_coreml_are_refused() -> None:
    with pytest.raises(UsageError, match="divided by their scales"):
        as_palette4.Config(per_channel_scale=True)
    with pytest.raises(UsageError, match="palettes of 5 bits"):
        as_palette4.Config(bits=5)


def test_the_list_tells_targets_and_needs(command: Command) -> None:
    rows = {row["scheme"]: row for row in command("quantize", "--list", "--json").document}
    assert set(rows) == set(registry.names("scheme")) >= {"fp16", "w8", "w8a8", "w4", "qdq_int8", "palette6"}
    assert rows["qdq_int8"]["targets"] == "tensorrt" and "pictures" in rows["w8a8"]["needs"]


def test_bytes_behind_a_relu_become_signed(tmp_path: Path) -> None:
    """TensorRT takes int8 with zero point 0 alone. The range stays, its steps are twice as wide."""
    make, number = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [
        make("Relu", ["x"], ["r"]),
        make("QuantizeLinear", ["r", "scale", "zero"], ["q"]),
        make("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [101]) for name in "xy"]
    numbers = [number(np.float32(4 / 255), "scale"), number(np.uint8(0), "zero")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], numbers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    x = np.linspace(-1, 4, 101, dtype=np.float32)
    assert as_qdq_int8.zero_points(tmp_path / "model.onnx") == ["zero"]
    as_qdq_int8.make_signed(tmp_path / "model.onnx")
    assert not as_qdq_int8.zero_points(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    assert np.abs(y - x.clip(0)).max() <= 4 / 127 / 2 + 1e-6
