"""The timing harness: turns, processor seconds with children's, intervals, and commands that fail."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sam3_edge.benchmarks import paired
from sam3_edge.benchmarks.paired import CommandError, Comparison, Times, clock, compare, shell
from sam3_edge.benchmarks.roofline import Probe, Roofline, fastest, summary
from sam3_edge.errors import UsageError
from sam3_edge.timing.ratio import Ratio, interval

BURN = "import time\nwhile time.process_time() < {}: pass"


def command(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -S -c {shlex.quote(code)}"


def burn(seconds: float) -> Callable[[], None]:
    """Work for so many processor seconds, however busy the machine is."""

    def work() -> None:
        start = time.process_time()
        while time.process_time() - start < seconds:
            pass

    return work


def test_they_take_turns_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def measure(_: Probe) -> Roofline:
        order.append("|")
        return Roofline(1.0, 1.0)

    monkeypatch.setattr(Probe, "measure", measure)
    found = compare(lambda: order.append("a"), lambda: order.append("b"), pairs=4, warmups=2)
    assert "".join(order) == "abab|ab|ba|ab|ba|"
    assert len(found.a) == len(found.b) == 4 and len(found.roofline) == 5


def test_runs_are_kept_with_their_names_when_b_goes_first() -> None:
    found = compare(burn(0.03), burn(0.006), pairs=3)
    assert all(a.processor > 2 * b.processor for a, b in zip(found.a, found.b, strict=True))


def test_twice_the_work_is_twice_the_processor_seconds() -> None:
    ratio = compare(burn(0.06), burn(0.03), pairs=5).ratio("processor")
    assert 1.5 < ratio.median < 2.6  # not 0.5, 1 or 4: a, b, and nothing else is counted
    assert ratio.low <= ratio.median <= ratio.high


def test_the_processor_seconds_of_a_command_are_counted() -> None:
    run = clock(shell(command(BURN.format(0.3))))
    assert run.processor >= 0.3
    asleep = clock(lambda: time.sleep(0.3))
    assert asleep.wall >= 0.3 and asleep.processor < asleep.wall / 2


def test_the_interval_covers_the_ratio_and_shrinks_with_pairs() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(40):
        drawn = interval(2 * np.exp(rng.normal(0, 0.1, 20)))
        covered += drawn.low <= 2 <= drawn.high
    assert covered >= 34
    few, many = (interval(2 * np.exp(rng.normal(0, 0.1, count))) for count in (8, 200))
    assert many.high - many.low < few.high - few.low
    assert interval(np.full(5, 1.5)) == Ratio(1.5, 1.5, 1.5)


def test_a_ratio_is_of_pairs_so_that_a_slower_hour_cancels_out() -> None:
    slower = [1.0, 1.0, 4.0, 4.0, 9.0]
    a, b = (tuple(Times(pace * part, pace * part) for pace in slower) for part in (3.0, 2.0))
    found = Comparison(a, b, (Roofline(1.0, 1.0),)).ratio("wall")
    assert (found.median, found.low, found.high) == (1.5, 1.5, 1.5)


def test_too_little_to_measure_or_too_few_pairs_is_refused() -> None:
    nothing = Comparison((Times(0.0, 0.0),) * 2, (Times(1.0, 1.0),) * 2, ())
    with pytest.raises(UsageError, match="more work"):
        nothing.ratio("processor")
    with pytest.raises(UsageError, match="2 or more"):
        compare(burn(0.0), burn(0.0), pairs=1)


def test_a_command_that_fails_says_how() -> None:
    failing = shell(command("import sys; sys.exit('x' * 900 + ' the last word')"))
    with pytest.raises(CommandError, match=r"exit code 1: x+ the last word") as caught:
        compare(failing, burn(0.0), pairs=2)
    assert caught.value.code == 1 and len(caught.value.stderr) == paired.TAIL
    with pytest.raises(CommandError, match="SIGKILL"):
        shell("kill -9 $$")()


def test_the_roofline_counts_its_work() -> None:
    measured = Probe().measure()
    assert measured.gflops > 0.1 and measured.copy_gbs > 0.01  # 100 times below the slowest board
    made: list[int] = []
    assert fastest(lambda: made.append(1), times=3) >= 0 and len(made) == 3
    spread = summary([Roofline(1.0, 5.0), Roofline(3.0, 5.0), Roofline(2.0, 5.0)])
    assert spread["gflops"] == {"median": 2.0, "least": 1.0, "most": 3.0}


def test_the_command_line_writes_a_table_and_json(tmp_path: Path) -> None:
    output = tmp_path / "out" / "paired.json"
    slow, quick = command(BURN.format(0.2)), command(BURN.format(0.1))
    options = ["--pairs", "3", "--warmups", "0", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "sam3_edge.benchmarks.paired", "--a", slow, "--b", quick, *options],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "3 pairs" in done.stdout and "processor s" in done.stdout and "GFLOP/s" in done.stdout
    document = json.loads(output.read_text())
    assert document["commands"] == {"a": slow, "b": quick} and document["pairs"] == 3
    assert document["ratio"]["processor"]["median"] > 1
    assert len(document["runs"]["a"]) == 3 and document["a"]["processor"] >= 0.2
    assert set(document["roofline"]) == {"gflops", "copy_gbs"} and document["machine"]["cores"] >= 1


def test_the_command_line_reports_a_failure_and_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "paired.json"
    options = ["--a", "echo no such thing >&2; exit 7", "--b", "true", "--output", str(output)]
    done = CliRunner().invoke(paired.main, options)
    assert done.exit_code == 5 and "exit code 7: no such thing" in done.stderr
    assert not output.exists()
