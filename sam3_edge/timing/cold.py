"""From nothing to the first masks, each time in a process of its own.

`python -m sam3_edge.timing.cold` is such a process: it opens a bundle, follows two frames, and says what took
how long. The one that starts it reads its own clock when the first masks are told.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

STARTED = time.perf_counter()  # before anything of ours is imported

from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Any  # noqa: E402

STAGES = ("import", "open", "phrase", "first_frame", "second_frame")
PROCESSES, QUICK_PROCESSES = 5, 3
TAIL = 400  # characters of what a process said last


def child(order: dict[str, Any], out: IO[str]) -> None:
    """Follow two frames and tell a line after the first and one after the second."""
    from sam3_edge import load
    from sam3_edge.machine.memory import peak_mb
    from sam3_edge.timing.following import begin
    from sam3_edge.timing.footage import decoded

    marks = [STARTED, time.perf_counter()]
    with load(order["bundle"], threads=order["threads"], device=order["device"]) as model:
        marks.append(time.perf_counter())
        tracker = begin(model, tuple(order["phrases"]), order["objects"])
        marks.append(time.perf_counter())
        for path in order["frames"]:
            tracker.step(decoded(Path(path).read_bytes()))
            marks.append(time.perf_counter())
            print("masks", file=out, flush=True)
    taken = (after - before for before, after in pairwise(marks))
    stages = dict(zip(STAGES, taken, strict=True))
    print(json.dumps({"stages": stages, "peak_mb": peak_mb()}), file=out, flush=True)


def start(order: dict[str, Any]) -> dict[str, Any]:
    """One fresh process: milliseconds to its first masks, of its stages, and its peak of memory.

    Raises `CheckError` with what it said if it fails.
    """
    from sam3_edge.errors import CheckError

    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "sam3_edge.timing.cold", json.dumps(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        shown = time.perf_counter() - began
        lines = process.stdout.read().splitlines()
        said = process.stderr.read()
    if process.returncode or first.strip() != "masks":
        raise CheckError(f"a fresh process failed: {' '.join(said.split())[-TAIL:] or 'it said nothing'}")
    told = json.loads(lines[-1])
    # What the interpreter takes before our first line runs is in no stage.
    inside = sum(told["stages"][name] for name in STAGES[:-1])
    stages = {"interpreter": shown - inside, **told["stages"]}
    return {
        "first_masks_ms": round(1e3 * shown, 3),
        "stages_ms": {name: round(1e3 * seconds, 3) for name, seconds in stages.items()},
        "peak_mb": round(told["peak_mb"], 1),
    }


if __name__ == "__main__":
    child(json.loads(sys.argv[1]), sys.stdout)
