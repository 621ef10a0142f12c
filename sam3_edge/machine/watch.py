"""The machine's state before, during and after a run. Reading costs a thread some tenths of a millisecond."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sam3_edge.machine import clocks, nvml, power, tegrastats
from sam3_edge.machine.apple import apple_state
from sam3_edge.machine.command import Say, say
from sam3_edge.machine.tree import Tree

INTERVAL = 0.5  # seconds between readings
COLUMNS = ("time", "watts", "celsius", "cpu_mhz", "gpu_mhz", "available_mb", "gpu_mb")
NOTHING = float("nan")


class Machine:
    """Every reader, on `tree`. What is missing once is not asked for again."""

    def __init__(self, tree: Tree | None = None, *, command: Say = say) -> None:
        self.tree, self.command = tree or Tree(), command
        self.library = nvml.library()

    def state(self) -> dict[str, Any]:
        """All that there is to know, now."""
        return {
            "clocks": clocks.clocks(self.tree),
            "temperatures_c": clocks.temperatures(self.tree),
            "cooling": clocks.cooling(self.tree),
            "slowed": clocks.slowed(self.tree),
            "rails_w": {name: round(watts, 3) for name, watts in power.rails(self.tree).items()},
            "available_mb": rounded(clocks.available_mb(self.tree)),
            "load_1min": clocks.load(self.tree),
            "gpus": nvml.gpus(self.library),
            "tegrastats": tegrastats.once(),
            "macos": apple_state(self.command),
        }

    def total(self) -> power.Total | None:
        """What the whole takes; a GPU's own sensor where the machine has none."""
        found = power.total(power.rails(self.tree))
        if found is None and self.library is not None:
            watts = [gpu["watts"] for gpu in nvml.gpus(self.library)]
            if watts and None not in watts:
                return power.Total("board of the GPU (NVML)", "the GPU's board alone", sum(watts))
        return found

    def row(self) -> dict[str, float | None]:
        """The few numbers that are read during a run."""
        rates = clocks.clocks(self.tree)
        gpus, taken = nvml.gpus(self.library), self.total()
        degrees = [*clocks.temperatures(self.tree).values()] + [g["celsius"] for g in gpus if g["celsius"]]
        return {
            "watts": None if taken is None else taken.watts,
            "celsius": max(degrees, default=None),
            "cpu_mhz": clocks.cpu_mhz(rates),
            "gpu_mhz": gpus[0]["sm_mhz"] if gpus else clocks.gpu_mhz(rates),
            "available_mb": clocks.available_mb(self.tree),
            "gpu_mb": next((gpu["own_mb"] or gpu["used_mb"] for gpu in gpus), None),
        }


class Watch:
    """Reads a machine every half second, from `with` on until its end. NaN for what it does not tell."""

    def __init__(self, machine: Machine, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.machine, self.clock = machine, clock
        self.columns: dict[str, array[float]] = {name: array("d") for name in COLUMNS}
        self.energy: list[float | None] = []
        self.times: list[float] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="watch", daemon=True)

    def read(self) -> None:
        """A reading."""
        row = {"time": self.clock(), **self.machine.row()}
        for name, values in self.columns.items():
            value = row[name]
            values.append(NOTHING if value is None else value)

    def run(self) -> None:
        """Until it is over."""
        while not self.over.wait(INTERVAL):
            self.read()

    def mark(self) -> None:
        """A reading of the counters of energy."""
        self.energy.append(power.joules(self.machine.tree))
        self.times.append(self.clock())

    def __enter__(self) -> Watch:
        self.mark()
        self.read()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()
        self.read()
        self.mark()

    def told(self, name: str) -> list[float]:
        """The readings of a column that were told."""
        return [value for value in self.columns[name] if value == value]

    @property
    def watts(self) -> float | None:
        """On average: of the rails, else of the processor's counters; None where nothing tells."""
        read = self.told("watts")
        if read:
            return sum(read) / len(read)
        first, last = self.energy
        if first is None or last is None or last < first or self.times[1] <= self.times[0]:
            return None
        return (last - first) / (self.times[1] - self.times[0])

    def to_json(self) -> dict[str, Any]:
        """Least, mean and most of each column, null where nothing was told; and all readings."""
        found: dict[str, Any] = {"interval_s": INTERVAL, "readings": len(self.columns["time"])}
        for name in COLUMNS[1:]:
            read = self.told(name)
            found[name] = span(read) if read else None
        begin = self.columns["time"][0]
        rows = zip(*self.columns.values(), strict=True)
        found["columns"] = list(COLUMNS)
        found["rows"] = [[round(row[0] - begin, 2), *map(plain, row[1:])] for row in rows]
        return found


def span(read: list[float]) -> dict[str, float]:
    """Least, mean and most."""
    mean = sum(read) / len(read)
    return {"min": round(min(read), 3), "mean": round(mean, 3), "max": round(max(read), 3)}


def plain(value: float) -> float | None:
    """A number for JSON."""
    return round(value, 3) if value == value else None


def rounded(value: float | None) -> float | None:
    """To a tenth."""
    return None if value is None else round(value, 1)


def energy(during: Watch, idle: Watch | None, frames: int, seconds: float) -> dict[str, Any] | None:
    """Joules a frame, gross and net of idling; the rail and what it supplies. None where nothing tells."""
    total = during.machine.total()
    if during.watts is None:
        return None
    rail = power.PACKAGE if total is None else (total.rail, total.scope)
    rest = None if idle is None else idle.watts
    net = None if rest is None else (during.watts - rest) * seconds / frames
    return {
        "rail": rail[0],
        "scope": rail[1],
        "mean_w": round(during.watts, 3),
        "idle_w": None if rest is None else round(rest, 3),
        "j_per_frame": round(during.watts * seconds / frames, 4),
        "net_j_per_frame": None if net is None else round(net, 4),
    }
