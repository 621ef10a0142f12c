"""Memory over 200 000 steps on scripted answers, with 10 000 objects coming and going."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam3_edge.alone import alone

from . import crowd
from .document import errors_told, finish, write_document
from .machine import facts
from .memory import growth, problems, watched

# From settled to the last step are whole periods of the crowd: as many objects are there at both.
STEPS, SETTLED = 200_000, 20_000
TRACED, TRACED_SETTLED = 20_000, 2_000
# How much more there may be in the end than after settling. A block is an object of Python's, of up to 512
# bytes: a number kept from every tenth step would make 18 000 of them.
LIMITS = {"resident_mb": 4.0, "blocks": 2000.0, "arrays": 0.0, "traced_kb": 64.0}
PIXELS = np.zeros((48, 64, 3), np.uint8)


def scripted(settled: int, steps: int, traced: bool = False) -> dict[str, Any]:
    """The crowd, `steps` steps of it. Tracing every allocation makes a step three times as long."""
    if traced:
        tracemalloc.start(1)
    try:
        tracker = crowd.tracker()

        def frames() -> Iterator[NDArray[np.uint8]]:
            while True:
                crowd.say_goodbye(tracker)
                yield PIXELS

        readings = list(watched(tracker, frames(), steps, settled))
    finally:
        tracemalloc.stop()
    return {"steps": steps, "objects": tracker.roster.next_id, **growth(readings, settled)}


def report(plain: dict[str, Any], traced: dict[str, Any]) -> dict[str, Any]:
    """Both runs, and what misses the limits."""
    return {
        "what": "the loop on scripted answers; what is held after the last step and was not after settling",
        "machine": facts("numpy"),
        "limits": LIMITS,
        "plain": plain,
        "traced": traced,
        "failures": problems(plain, LIMITS) + problems(traced, LIMITS),
    }


@click.command()
@click.option("--steps", type=(int, int), default=(SETTLED, STEPS), show_default=True, help="Settled, all.")
@click.option("--traced", type=(int, int), default=(TRACED_SETTLED, TRACED), show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The JSON to write.")
def main(steps: tuple[int, int], traced: tuple[int, int], output: Path) -> None:
    """Step for a long time, then for less with every allocation traced. Exits 1 if memory grows."""
    with errors_told():
        # In processes of their own: what one leaves behind, the other could take without growing.
        document = report(alone(scripted, *steps), alone(scripted, *traced, True))
        write_document(output, document)
    finish(document["failures"])


if __name__ == "__main__":
    main()
