"""Whether a bundle fits a device, from what the export computed of every graph's shapes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, ResourceError, UsageError

REPORT = "report.json"
# CUDA's context, TensorRT's library and its kernels, and this program: an estimate until a board is measured.
BASE = 1_200_000_000
# While an engine is built, its weights lie there as the graph's, as the builder's and as the engine's.
COPIES = 3
UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Need:
    """Bytes that one graph needs: its weights, its inputs and outputs, and what lives while it runs."""

    graph: str
    weights: int
    edges: int
    activations: int


@dataclass(frozen=True)
class Fit:
    """All graphs of a bundle on one device. Weights of all graphs stay; one graph runs at a time."""

    needs: tuple[Need, ...]

    @property
    def running(self) -> int:
        """Bytes while frames run."""
        busiest = max((need.activations for need in self.needs), default=0)
        return BASE + busiest + sum(need.weights + need.edges for need in self.needs)

    @property
    def building(self) -> int:
        """Bytes while the largest engine is built."""
        return BASE + max((COPIES * need.weights + need.activations for need in self.needs), default=0)

    @property
    def most(self) -> int:
        return max(self.running, self.building)

    def to_json(self) -> dict[str, Any]:
        """Plain values, in bytes."""
        return {"building": self.building, "running": self.running, "graphs": [vars(n) for n in self.needs]}


def fit_of(bundle: Bundle) -> Fit:
    """What the bundle needs. Raises `CheckError` for one that was exported without it."""
    try:
        report = json.loads(bundle.file(REPORT).read_bytes())
        graphs = report[bundle.target]["graphs"]
        return Fit(tuple(Need(graph=name, **row["memory"]) for name, row in graphs.items()))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckError(
            f"bundle {bundle.path}: {REPORT} does not say how much memory its graphs need: "
            "export it for tensorrt"
        ) from error


def check_fits(bundle: Bundle, free: int) -> None:
    """Raises `ResourceError` if so many free bytes are not enough to build and run the bundle."""
    fit = fit_of(bundle)
    if fit.most > free:
        raise ResourceError(
            f"bundle {bundle.path} needs {fit.most / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
            "close other programs, or export with a smaller --image-size"
        )


def parse_size(text: str) -> int:
    """Bytes of `8GB`, `512 MB` or `7.4G`. Raises `UsageError` for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)B?\s*", text, re.IGNORECASE)
    if not found or not float(found[1]):
        raise UsageError(f"memory {text!r:.40}: want a size such as 8GB or 512MB")
    return int(float(found[1]) * UNITS[found[2].upper()])
