"""Live runs that are stopped at random moments: `cd tests && python -m stop_runs --count 100 --output FILE`.

Each starts in the folder of the one before, with a password for its camera, and gets SIGINT, SIGTERM or
SIGKILL at a moment from its first instant on. Then there is none of its processes, no secret was on a command
line, and every results file can be read.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import click
from camera_rig import descendants, processes
from live_command import LiveCommand

from sam3_edge.benchmarks.http_camera import Camera, pictures
from sam3_edge.video.results import read_results

LOGIN = "anna:s3cret"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def stop_one(camera: Camera, folder: Path, number: signal.Signals, after: float) -> str:
    """One run that is stopped; what is told of it. Fails for anything that must not be."""
    live = LiveCommand(
        folder,
        *(
            camera.url,
            "--prompt",
            "red circle",
            "--view",
            "web",
            "--port",
            "0",
            "--threads",
            "1",
            "-o",
            "out",
        ),
        *("--rotate-mb", "1", "--health", "health.json"),
        environment={"SAM3_EDGE_CREDENTIALS": LOGIN},
    )
    until = time.monotonic() + after
    seen: dict[int, str] = {}
    while time.monotonic() < until and live.process.poll() is None:
        seen |= descendants(live.process.pid)
        time.sleep(0.05)
    seen |= descendants(live.process.pid)
    own = {live.process.pid, *seen}
    secrets = [words for one, _, words in processes() if one in own and "s3cret" in words]
    secrets += [words for words in seen.values() if "s3cret" in words]
    began = time.monotonic()
    code = live.stop(number)
    took = time.monotonic() - began
    live.close()
    assert not secrets, secrets
    # Before its handlers are there, a signal does what it does to any program.
    fine = {-number, 128 + number, 130} if number is signal.SIGKILL or not live.said else {0, -number, 130}
    assert code in fine, (number, code, live.said)
    gone = time.monotonic() + 10
    while left := {pid for pid in seen if alive(pid, seen[pid])}:
        assert time.monotonic() < gone, {pid: seen[pid] for pid in left}
        time.sleep(0.02)
    lines = 0
    for path in sorted((folder / "out").glob("results*.jsonl")):
        if path.stat().st_size:
            lines += sum(1 for _ in read_results(path))
    return (
        f"{number.name} after {after:5.2f} s: code {code}, {took:4.2f} s, {len(seen)} children, {lines} lines"
    )


def alive(pid: int, words: str) -> bool:
    """Whether a process is still there, and still the same."""
    return any(number == pid and line == words and line for number, _, line in processes())


def stop_runs(count: int, seed: int, folder: Path) -> list[str]:
    """So many runs, one after the other."""
    chance = random.Random(seed)
    camera = Camera(pictures(), rate=8, login=LOGIN).start()
    told = []
    try:
        for place in range(count):
            told.append(stop_one(camera, folder, SIGNALS[place % 3], chance.uniform(0.0, 4.0)))
            print(told[-1], flush=True)
    finally:
        camera.stop()
    return told


@click.command()
@click.option("--count", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(count: int, seed: int, output: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        output.write_text("\n".join(stop_runs(count, seed, Path(folder) / "runs")) + "\n")


if __name__ == "__main__":
    main()
