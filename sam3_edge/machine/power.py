"""What the machine takes, rail by rail, as its own sensors tell: never the wall, and never a guess.

Jetsons have an INA3221 on the module; the Thor developer kit also an INA238 at the carrier's input. Names are
those of NVIDIA's device trees. A laptop tells its battery's discharge, an Intel processor its energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sam3_edge.machine.tree import Tree

# Rails that add up to something, best first, and to what.
TOTALS: Sequence[tuple[tuple[str, ...], str]] = (
    (("VIN",), "input of the carrier board"),
    (("VDD_IN",), "input of the module"),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "rails of the module: there is no sensor at its input"),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), "rails of the module: there is no sensor at its input"),
    (("battery",), "discharge of the battery"),
)
PACKAGE = ("package", "the processor's package (RAPL)")
RAPL = "/sys/class/powercap/intel-rapl:*/energy_uj"


@dataclass(frozen=True)
class Total:
    """Watts of `rail`, which is one rail or several with + between them; `scope` says what they supply."""

    rail: str
    scope: str
    watts: float


def rails(tree: Tree) -> dict[str, float]:
    """Watts by rail, now; none where there is no sensor."""
    found: dict[str, float] = {}
    for chip in chips(tree, "ina3221"):
        for place in (1, 2, 3):
            label = tree.text(f"{chip}/in{place}_label")
            volts = tree.number(f"{chip}/in{place}_input", 1e-3)
            amperes = tree.number(f"{chip}/curr{place}_input", 1e-3)
            if label not in (None, "NC") and volts is not None and amperes is not None:
                found[str(label)] = volts * amperes
    for chip in chips(tree, "ina238"):
        watts = tree.number(f"{chip}/power1_input", 1e-6)
        if watts is not None:
            found["VIN"] = watts
    discharge = battery(tree)
    return found if discharge is None else found | {"battery": discharge}


def chips(tree: Tree, name: str) -> list[str]:
    """Folders of the sensors of a kind."""
    known = [folder for folder in tree.find("/sys/class/hwmon/hwmon*") if tree.text(f"{folder}/name") == name]
    return known or list(tree.find(f"/sys/bus/i2c/drivers/{name}/*/hwmon/hwmon*"))


def battery(tree: Tree) -> float | None:
    """Watts out of the battery; None on a charger."""
    for supply in tree.find("/sys/class/power_supply/*"):
        if tree.text(f"{supply}/type") != "Battery" or tree.text(f"{supply}/status") != "Discharging":
            continue
        watts = tree.number(f"{supply}/power_now", 1e-6)
        volts = tree.number(f"{supply}/voltage_now", 1e-6)
        amperes = tree.number(f"{supply}/current_now", 1e-6)
        if watts is None and volts is not None and amperes is not None:
            watts = volts * amperes
        if watts is not None:
            return abs(watts)
    return None


def joules(tree: Tree) -> float | None:
    """What the processor's packages have taken since some moment; None where that may not be read."""
    counters = [tree.number(name, 1e-6) for name in tree.find(RAPL)]
    told = [counter for counter in counters if counter is not None]
    return sum(told) if told and len(told) == len(counters) else None


def total(found: Mapping[str, float]) -> Total | None:
    """The rails that stand for the whole; None if none of the known ones are there."""
    for names, scope in TOTALS:
        if all(name in found for name in names):
            return Total(" + ".join(names), scope, sum(found[name] for name in names))
    return None
