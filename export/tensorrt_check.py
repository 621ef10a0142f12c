"""TensorRT's parser and builder without a GPU: TensorRT for RTX builds ahead of time on the processor.

It shares the parser with TensorRT 11 but builds for other chips than Jetson's: what it refuses, TensorRT
would refuse; what it builds is not what a device will run. `python -m` this file builds in a process of its
own, because the library's memory does not come back and a crash in it must not take the export along.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sam3_edge.engines import network
from sam3_edge.engines.network import keeping_logger
from sam3_edge.errors import BackendError, CheckError

PACKAGE = "tensorrt-rtx"


def builder_version() -> str | None:
    """The version of the builder, None where it is not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def check(paths: Sequence[Path], *, build: bool) -> list[dict[str, Any]]:
    """Parse graphs, and build them if asked: layers, and the engine's bytes and seconds, of each.

    Raises `CheckError` for the first that is refused, `BackendError` where the builder is not installed.
    """
    if builder_version() is None:
        raise BackendError(f"{PACKAGE} is not installed: pip install 'sam3-edge[tensorrt-check]'")
    command = [sys.executable, "-m", __name__, "build" if build else "parse", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise CheckError(f"{PACKAGE} died of signal {-done.returncode} {said(done.stderr)}: {paths[-1]}")
    if done.returncode:
        raise CheckError(f"{PACKAGE} {builder_version()}: {said(done.stderr)}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def said(text: str) -> str:
    """The last line of what a process had to say."""
    return (text.strip().splitlines() or ["without a word"])[-1]


@cache
def logger() -> Any:
    """The logger of this process."""
    import tensorrt_rtx

    return keeping_logger(tensorrt_rtx)


def examine(path: Path, *, build: bool) -> dict[str, Any]:
    """One graph in this process. Raises `CheckError` with the parser's or the builder's own words."""
    import tensorrt_rtx

    start = time.perf_counter()
    parsed = network.parse(tensorrt_rtx, logger(), path)
    row = {"file": path.name, "layers": parsed.network.num_layers, "parse_seconds": seconds(start)}
    if not build:
        return row
    start = time.perf_counter()
    engine = network.build(tensorrt_rtx, parsed, name=str(path), errors=logger().errors)
    return row | {"engine_bytes": engine.nbytes, "build_seconds": seconds(start)}


def seconds(start: float) -> float:
    """Seconds since then, to what matters."""
    return round(time.perf_counter() - start, 2)


def main() -> None:
    """`parse|build FILE...`: rows as JSON on stdout, or the first refusal on stderr and exit code 5."""
    mode, *files = sys.argv[1:]
    try:
        rows = [examine(Path(file), build=mode == "build") for file in files]
    except CheckError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
