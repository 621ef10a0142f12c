"""What can be told of saved packages without a device: for `report.json`, and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .ane_lint import least_megabytes, lint
from .coreml_package import MAIN
from .mil_program import read_program

Survey = list[dict[str, Any]]
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def survey(folder: Path) -> Survey:
    """Each function of a graph: what keeps it off the Neural Engine, how much memory it needs at least."""
    functions = [
        (package.stem if name == MAIN else name, function)
        for package in sorted(folder.glob("*.mlpackage"))
        for name, function in sorted(read_program(package).functions.items())
    ]
    return [
        {
            "function": name,
            "operations": len(function.operations),
            "least_megabytes": least_megabytes(function),
            "neural_engine": [found.to_json() for found in lint(function)],
        }
        for name, function in functions
    ]


def table(graphs: Mapping[str, Survey]) -> Table:
    """Title, columns and rows: a row for each function of each graph."""
    rows: list[tuple[str, ...]] = [
        (
            name if len(surveyed) == 1 else f"{name}, {each['function']}",
            str(each["operations"]),
            f"{each['least_megabytes']:.1f}",
            "; ".join(f"{found['rule']}: {found['count']}" for found in each["neural_engine"]) or "nothing",
        )
        for name, surveyed in graphs.items()
        for each in surveyed
    ]
    columns = ("graph", "operations", "MB to run, at least", "what keeps it off the Neural Engine")
    return "Packages, as far as can be told without a device", columns, rows
