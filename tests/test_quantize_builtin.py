"""The table of schemes: what passes, what is refused and why, and what must not come out otherwise."""

from __future__ import annotations

from pathlib import Path

from sam3_edge.benchmarks.quantize_builtin import TOO_FEW_BITS, Case, cases, judge, markdown, problems
from sam3_edge.bundle import Bundle


def test_every_scheme_has_a_row() -> None:
    names = [(case.target, case.name) for case in cases(("onnx", "tensorrt", "coreml"))]
    assert ("tensorrt", "qdq_int8") in names and ("coreml", "palette6 bits=2") in names
    assert {"w8", "w8a8", "w4", "fp16"} <= {scheme for target, scheme in names if target == "onnx"}
    assert TOO_FEW_BITS not in cases(("onnx",))


def test_what_passes_and_what_is_refused(whole: Path, tmp_path: Path) -> None:
    some = [Case("onnx", "w8"), Case("onnx", "w8", {"limit": 1})]
    good, bad = judge(Bundle.open(whole), some, 6, 0, tmp_path)
    assert good["passed"] and not bad["passed"] and good["bytes"] < good["bytes_before"]
    assert (tmp_path / "w8" / "bundle.json").exists() and not (tmp_path / "w8-limit=1").exists()

    assert problems([good, bad]) == []
    assert problems([{**good, "passed": False}]) == ["w8 was refused"]
    assert problems([{**bad, "scheme": TOO_FEW_BITS.name, "passed": True}]) == ["palette6 bits=2 passed"]
    told = markdown({"thresholds": {"mask_iou_mean": 0.98}, "rows": [good, bad]})
    assert f"**{bad['gate']['mask_iou_mean']:.4f}** | refused" in told and "| written |" in told
