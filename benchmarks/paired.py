"""Which of two is faster, and by how much: `python -m sam3_edge.benchmarks.paired --a CMD --b CMD`.

A machine is never quiet, so the two run in turns (a b, b a, a b, ...) and are compared pair by pair.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from sam3_edge import console
from sam3_edge.errors import EdgeError, UsageError
from sam3_edge.timing.ratio import Ratio, interval
from sam3_edge.writing import write_file

from .machine import facts
from .roofline import Probe, Roofline, summary

CLOCKS = ("wall", "processor")
TAIL = 400  # characters of what a command said last


class CommandError(EdgeError):
    """A timed command failed: its time means nothing. `code` is its exit code, negative for a signal."""

    exit_code = 5

    def __init__(self, command: str, code: int, stderr: str) -> None:
        self.command, self.code, self.stderr = command, code, stderr
        ended = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        said = " ".join(stderr.split()) or "nothing on stderr"
        super().__init__(
            f"timed command `{command}` failed with {ended}: {said}: make it run by itself first"
        )


@dataclass(frozen=True)
class Times:
    """Seconds of one run; processor seconds of all threads, and of child processes that have ended."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Comparison:
    """Runs of a and of b, paired by index; the machine's roofline before every pair and after the last."""

    a: tuple[Times, ...]
    b: tuple[Times, ...]
    roofline: tuple[Roofline, ...]

    def ratio(self, clock: str) -> Ratio:
        """By the `wall` or the `processor` clock."""
        first, second = (np.array([getattr(run, clock) for run in runs]) for runs in (self.a, self.b))
        if not (first > 0).all() or not (second > 0).all():
            raise UsageError(f"a run took no {clock} time that can be measured: let a and b do more work")
        return interval(first / second)

    def to_json(self) -> dict[str, Any]:
        """Medians, ratios, every run, the roofline and the machine."""
        runs = {"a": self.a, "b": self.b}
        return {
            "pairs": len(self.a),
            **{name: {clock: middle(times, clock) for clock in CLOCKS} for name, times in runs.items()},
            "ratio": {clock: vars(self.ratio(clock)) for clock in CLOCKS},
            "roofline": summary(self.roofline),
            "runs": {name: [vars(run) for run in times] for name, times in runs.items()},
            "machine": facts("numpy"),
        }


def middle(runs: Sequence[Times], clock: str) -> float:
    """Median seconds."""
    seconds: list[float] = [getattr(run, clock) for run in runs]
    return median(seconds)


def used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def clock(action: Callable[[], object]) -> Times:
    """Time one run of a callable, with the processes it starts and waits for."""
    before, start = used(), time.perf_counter()
    action()
    return Times(time.perf_counter() - start, used() - before)


def compare(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    pairs: int,
    warmups: int = 1,
    advance: Callable[[int], object] = lambda _: None,
    clock: Callable[[Callable[[], Any]], Times] = clock,
) -> Comparison:
    """Run a and b `pairs` times each, after `warmups` untimed runs of both; `advance` hears of every pair.

    `clock` times one run: another one asks the process in which it runs.
    Every second pair runs b first, so that neither always finds what the other left in the caches.
    What a or b raises ends the comparison. Raises `UsageError` for fewer than two pairs.
    """
    if pairs < 2:
        raise UsageError(f"{pairs} pairs give no interval: ask for 2 or more, 10 for a claim")
    for _ in range(warmups):
        a()
        b()
    probe, runs, roofline = Probe(), [], []
    for index in range(pairs):
        roofline.append(probe.measure())
        ordered = [clock(action) for action in ((b, a) if index % 2 else (a, b))]
        runs.append(ordered[::-1] if index % 2 else ordered)
        advance(1)
    roofline.append(probe.measure())
    first, second = zip(*runs, strict=True)
    return Comparison(first, second, tuple(roofline))


def shell(command: str) -> Callable[[], None]:
    """A shell command as a callable that waits for it. It raises `CommandError` if the command fails."""

    def run() -> None:
        done = subprocess.run(
            command, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise CommandError(command, done.returncode, done.stderr.decode(errors="replace")[-TAIL:])

    return run


def show(found: Comparison) -> None:
    """The tables for people."""
    rows = [
        (f"{name} s", f"{middle(found.a, name):.4f}", f"{middle(found.b, name):.4f}", str(found.ratio(name)))
        for name in CLOCKS
    ]
    title = f"{len(found.a)} pairs"
    console.table(title, ("median", "a", "b", "a / b, 95 % interval"), rows, out=True)
    spread = summary(found.roofline)
    labels = {"gflops": "float32 matrix product, GFLOP/s", "copy_gbs": "copy, GB/s"}
    lines = [(labels[name], *(f"{value:.1f}" for value in row.values())) for name, row in spread.items()]
    console.table("This machine meanwhile", ("roofline", "median", "least", "most"), lines, out=True)


@click.command()
@click.option("--a", required=True, help="A shell command.")
@click.option("--b", required=True, help="The one to compare it with.")
@click.option("--pairs", default=10, show_default=True, type=click.IntRange(2))
@click.option("--warmups", default=1, show_default=True, type=click.IntRange(0))
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(a: str, b: str, pairs: int, warmups: int, output: Path | None) -> None:
    """Time two shell commands in turns."""
    try:
        with console.progress("pairs", pairs) as advance:
            found = compare(shell(a), shell(b), pairs=pairs, warmups=warmups, advance=advance)
        show(found)
        if output is not None:
            document = {"commands": {"a": a, "b": b}, **found.to_json()}
            write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    except EdgeError as error:
        console.note(f"error: {error}")
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
