"""How warm the machine is, what it takes, and how much memory this process holds."""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM = Path("/sys")


def temperature(root: Path = SYSTEM) -> float | None:
    """Degrees Celsius of the warmest zone, None where there is none."""
    return warmest([number(path) for path in root.glob("class/thermal/thermal_zone*/temp")])


def warmest(milli: list[float | None]) -> float | None:
    """The highest of readings in thousandths; a zone that is switched off reads far below zero."""
    found = [value / 1000 for value in milli if value is not None and 0 < value < 150_000]
    return max(found, default=None)


def power(root: Path = SYSTEM) -> float | None:
    """Watts of the module's supply as a Jetson's INA3221 tells them, None elsewhere: a rail, not the wall.

    The rail is the one called VDD_IN (Orin) or VIN_SYS_5V0, else the sum of all that have a label.
    """
    rails: dict[str, float] = {}
    for label in root.glob("class/hwmon/hwmon*/in*_label"):
        place = label.name.removeprefix("in").removesuffix("_label")
        volts = number(label.with_name(f"in{place}_input"))
        amperes = number(label.with_name(f"curr{place}_input"))
        if volts is not None and amperes is not None:
            rails[label.read_text(errors="replace").strip()] = volts * amperes / 1e6
    for name in ("VDD_IN", "VIN_SYS_5V0"):
        if name in rails:
            return rails[name]
    return sum(rails.values()) if rails else None


def number(path: Path) -> float | None:
    """The number in a file, None if it cannot be read: sensors come and go."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def resident() -> int | None:
    """Bytes of memory that this process holds, None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
