"""How fast the machine may run, how fast it runs, how warm it is, and whether it was slowed down."""

from __future__ import annotations

import re
from typing import Any

from sam3_edge.machine.tree import Tree

CPUS = "/sys/devices/system/cpu"
EMC = "/sys/kernel/debug/bpmp/debug/clk/emc"  # for root only
WARMEST = 150.0  # degrees: what is above it is no temperature, nor is what is far below zero


def clocks(tree: Tree) -> dict[str, dict[str, Any]]:
    """Megahertz now, at least and at most, and the governor: `cpu0`, a device's name, `emc`.

    `cpu0` is the first processor of a group that shares a clock.
    """
    found = {}
    for policy in tree.find(f"{CPUS}/cpufreq/policy*"):
        names = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "scaling_governor")
        found[f"cpu{policy.rpartition('policy')[2]}"] = clock(tree, policy, names, 1e-3)
    for device in tree.find("/sys/class/devfreq/*"):
        names = ("cur_freq", "min_freq", "max_freq", "governor")
        found[device.rpartition("/")[2]] = clock(tree, device, names, 1e-6)
    if (rate := tree.number(f"{EMC}/rate", 1e-6)) is not None:
        low, high = (tree.number(f"{EMC}/{key}_rate", 1e-6) for key in ("min", "max"))
        found["emc"] = {"mhz": rate, "least": low, "most": high, "governor": None}
    return found


def clock(tree: Tree, folder: str, names: tuple[str, str, str, str], scale: float) -> dict[str, Any]:
    """One clock."""
    now, least, most, governor = names
    return {
        "mhz": tree.number(f"{folder}/{now}", scale),
        "least": tree.number(f"{folder}/{least}", scale),
        "most": tree.number(f"{folder}/{most}", scale),
        "governor": tree.text(f"{folder}/{governor}"),
    }


def gpu_mhz(found: dict[str, dict[str, Any]]) -> float | None:
    """The GPU's clock among them: `17000000.gpu` on Orin, `gpu-gpc-0` on Thor."""
    for name, told in found.items():
        if re.search(r"gpu|gpc|ga10b|gv11b", name) and told["mhz"] is not None:
            return float(told["mhz"])
    return None


def cpu_mhz(found: dict[str, dict[str, Any]]) -> float | None:
    """The fastest of the processors."""
    told = [one["mhz"] for name, one in found.items() if name.startswith("cpu") and one["mhz"] is not None]
    return max(told, default=None)


def temperatures(tree: Tree) -> dict[str, float]:
    """Degrees Celsius by zone. A zone that is switched off, or reads nonsense, is left out."""
    found: dict[str, float] = {}
    for zone in tree.find("/sys/class/thermal/thermal_zone*"):
        degrees = tree.number(f"{zone}/temp", 1e-3)
        if degrees is not None and 0 < degrees < WARMEST:
            name = tree.text(f"{zone}/type") or zone.rpartition("/")[2]
            found[name if name not in found else zone.rpartition("/")[2]] = degrees
    return found


def slowed(tree: Tree) -> dict[str, float]:
    """Counters that rise when the machine slows itself down; compared before and after.

    Over-current events of a Jetson, thermal events of an x86 core.
    """
    patterns = ("/sys/class/hwmon/hwmon*/oc*_event_cnt", f"{CPUS}/cpu*/thermal_throttle/*_throttle_count")
    found = {}
    for pattern in patterns:
        for name in tree.find(pattern):
            if (count := tree.number(name)) is not None:
                found["/".join(name.split("/")[-2:])] = count
    return found


def cooling(tree: Tree) -> dict[str, float]:
    """Cooling devices that are at work, fans and lowered clocks, and how hard."""
    found = {}
    for device in tree.find("/sys/class/thermal/cooling_device*"):
        state, name = tree.number(f"{device}/cur_state"), tree.text(f"{device}/type")
        if state:
            found[f"{name or 'unknown'} ({device.rpartition('cooling_device')[2]})"] = state
    return found


def available_mb(tree: Tree) -> float | None:
    """Memory that is left, host and GPU together on a Jetson."""
    for line in tree.lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def load(tree: Tree) -> float | None:
    """Processes that ran or waited for a processor, on average over a minute."""
    words = (tree.text("/proc/loadavg") or "").split()
    return float(words[0]) if words else None
