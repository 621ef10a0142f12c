"""Runs that are killed at random instants: `python killed.py FOLDER` leaves them there and tells of them.

A process of its own forks them: imports are done once, and no thread of a test is copied.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from filmed import film, model, plan, restless

from sam3_edge.video.running import run_video

TRIALS, FRAMES, RESUMED = 100, 24, 5


def run(output: Path, *, resume: bool = False) -> None:
    """One run with everything that there is to write."""
    todo = plan(output, save="json,masks,video", live=True, every=5, resume=resume)
    run_video(model(restless(FRAMES)), film(FRAMES), todo)


def forked(output: Path) -> int:
    """A run in a process of its own."""
    child = os.fork()
    if not child:
        try:
            run(output)
        finally:
            os._exit(0)
    return child


def lines(output: Path) -> int:
    """Whole lines of results."""
    path = output / "results.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main(folder: Path) -> None:
    start = time.perf_counter()
    os.waitpid(forked(folder / "whole"), 0)
    whole = time.perf_counter() - start
    rng, killed = random.Random(0), 0
    for trial in range(TRIALS):
        child = forked(folder / str(trial))
        time.sleep(rng.random() * whole)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status) or os.WIFEXITED(status)
    counts = [lines(folder / str(trial)) for trial in range(TRIALS)]
    resumed = 0
    for trial in sorted(range(TRIALS), key=lambda trial: -counts[trial])[:RESUMED]:
        run(folder / str(trial), resume=True)
        same = (folder / str(trial) / "results.jsonl").read_bytes()
        resumed += same == (folder / "whole" / "results.jsonl").read_bytes()
    print(json.dumps({"killed": killed, "lines": counts, "resumed": resumed, "frames": FRAMES}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
