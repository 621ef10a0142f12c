"""`sam3-edge doctor`: what works on this machine, shown by running it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from sam3_edge import __version__, load, registry
from sam3_edge.agreement import PIXELS, Agreement
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle, verify
from sam3_edge.errors import CheckError, EdgeError
from sam3_edge.golden import read_golden, replay
from sam3_edge.golden_clip import read_clip, replay_clip
from sam3_edge.segmenter import Segmenter

PACKAGES = ("numpy", "Pillow", "onnxruntime", "opencv-python", "torch", "onnx", "coremltools", "tensorrt")
# A golden answer replayed on another processor: what design and gates allow between two fp32 backends.
LEAST_IOU = 0.98


def installed() -> dict[str, str | None]:
    """Versions of the packages that matter, None where a package is absent."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def backends() -> dict[str, dict[str, Any]]:
    """Each runtime, after it has run one real node: {name: {ok, detail}}."""
    answers: dict[str, dict[str, Any]] = {}
    # A runtime without a target runs no bundles: scripted answers prove nothing about this machine.
    for name in sorted({*registry.names("runtime")} & {*registry.names("target")}):
        try:
            answers[name] = {"ok": True, "detail": registry.load("runtime", name).selfcheck()}
        except EdgeError as error:
            answers[name] = {"ok": False, "detail": str(error)}
    return answers


def selftest() -> dict[str, Any]:
    """Hash the built-in bundle, ask it its golden questions and compare. Raises `CheckError` if it errs."""
    start = time.perf_counter()
    bundle = verify(builtin_bundle())
    with load(bundle.path) as segmenter:
        agreements = ask_again(segmenter, bundle)
    answers = {name: agreement.to_json() for name, agreement in agreements.items()}
    return {"bundle": bundle.hash, **answers, "seconds": time.perf_counter() - start}


def ask_again(segmenter: Segmenter, bundle: Bundle) -> dict[str, Agreement]:
    """The golden `answers` of a bundle, and its `clip` if it has one, on this machine.

    Raises `CheckError` if it has none, or if other answers are given now.
    """
    cases = read_golden(bundle)
    if not cases:
        raise CheckError(f"bundle {bundle.path}: it has no golden answers to replay; export it again")
    found = {"answers": replay(segmenter, cases)}
    if (clip := read_clip(bundle)) is not None:
        found["clip"] = replay_clip(segmenter, clip)
    for name, agreement in found.items():
        check(agreement, f"golden {name}")
    return found


def check(got: Agreement, what: str = "golden answers") -> None:
    """Raises `CheckError` unless the answers are the golden ones."""
    if not got.objects:
        raise CheckError(f"{what}: they name no object, so they prove nothing: export a trained model")
    wrong = got.missing + got.extra
    off = got.min_iou is not None and got.min_iou < LEAST_IOU and got.pixels > PIXELS
    if wrong or off:
        raise CheckError(
            f"{what}: of {got.objects} objects {got.missing} are missing, {got.extra} extra, the "
            f"worst mask IoU is {got.min_iou}: this backend computes wrongly here; update it, or report this"
        )


def examine() -> dict[str, Any]:
    """Everything `doctor` prints."""
    return {
        "sam3_edge": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "packages": installed(),
        "backends": backends(),
    }


def show(report: dict[str, Any]) -> None:
    """What `doctor` prints for people."""
    echo = click.echo
    echo(
        f"sam3-edge {report['sam3_edge']}, Python {report['python']}, {report['system']}, "
        f"{report['processors']} processors"
    )
    for name, found in report["packages"].items():
        echo(f"  {name:14} {found or 'not installed'}")
    for name, backend in report["backends"].items():
        echo(f"{'ok ' if backend['ok'] else 'no '} backend {name}: {backend['detail']}")
    if test := report.get("selftest"):
        answers = test["answers"]
        followed = f", {test['clip']['objects']} in the clip" if "clip" in test else ""
        echo(
            f"ok  selftest: {answers['objects']} objects found again{followed}, worst mask IoU "
            f"{answers['min_iou']}, "
            f"{test['seconds']:.1f} s"
        )
