"""Files of machines that are not here, written from documented layouts: no such board was at hand.

Names of rails, sensors and clocks are those of NVIDIA's device trees and of the Jetson Linux developer guide,
and of the kernel's drivers ina3221, ina238, cpufreq, devfreq and thermal. The numbers are made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sam3_edge.machine.tree import Tree

Files = dict[str, str]


def planted(root: Path, files: Mapping[str, str]) -> Tree:
    """The files below a folder."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root)


def sensor(place: str, chip: str, rails: Mapping[int, tuple[str, int, int]]) -> Files:
    """An INA3221: (label, millivolts, milliamperes) by channel."""
    made = {f"{place}/name": f"{chip}\n"}
    for channel, (label, millivolts, milliamperes) in rails.items():
        made |= {
            f"{place}/in{channel}_label": f"{label}\n",
            f"{place}/in{channel}_input": f"{millivolts}\n",
            f"{place}/curr{channel}_input": f"{milliamperes}\n",
        }
    return made


def jetson(model: str, chip: str, l4t: tuple[int, str], memory_kb: int, modes: str, mode: int) -> Files:
    """What all Jetsons have."""
    major, minor = l4t
    return {
        "/proc/device-tree/model": f"{model}\0",
        "/proc/device-tree/compatible": f"nvidia,board\0nvidia,{chip}\0",
        "/proc/meminfo": f"MemTotal: {memory_kb} kB\nMemFree: 100 kB\nMemAvailable: {memory_kb // 2} kB\n",
        "/proc/loadavg": "0.52 0.30 0.20 1/500 4000\n",
        "/etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
        "/etc/nv_tegra_release": f"# R{major} (release), REVISION: {minor}, GCID: 1, BOARD: generic\n",
        "/etc/nvpmodel.conf": modes,
        "/var/lib/nvpmodel/status": f"pmode:{mode:04}\n",
    }


def cpus(policies: Mapping[int, tuple[int, int, int]]) -> Files:
    """cpufreq: (now, least, most) in kHz by policy."""
    made: Files = {}
    for policy, (now, least, most) in policies.items():
        place = f"/sys/devices/system/cpu/cpufreq/policy{policy}"
        made |= {
            f"{place}/scaling_cur_freq": f"{now}\n",
            f"{place}/scaling_min_freq": f"{least}\n",
            f"{place}/scaling_max_freq": f"{most}\n",
            f"{place}/scaling_governor": "schedutil\n",
        }
    return made


def device(name: str, now: int, least: int, most: int) -> Files:
    """devfreq, in Hz."""
    place = f"/sys/class/devfreq/{name}"
    return {
        f"{place}/cur_freq": f"{now}\n",
        f"{place}/min_freq": f"{least}\n",
        f"{place}/max_freq": f"{most}\n",
        f"{place}/governor": "nvhost_podgov\n",
    }


def zones(*temperatures: tuple[str, int]) -> Files:
    """Thermal zones, in thousandths of a degree."""
    made: Files = {}
    for place, (name, degrees) in enumerate(temperatures):
        made[f"/sys/class/thermal/thermal_zone{place}/type"] = f"{name}\n"
        made[f"/sys/class/thermal/thermal_zone{place}/temp"] = f"{degrees}\n"
    return made


NANO_MODES = (
    "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
)
ORIN_NANO: Files = {
    **jetson(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "tegra234",
        (36, "4.3"),
        7_802_000,
        NANO_MODES,
        2,
    ),
    **sensor(
        "/sys/class/hwmon/hwmon1",
        "ina3221",
        {1: ("VDD_IN", 4960, 2000), 2: ("VDD_CPU_GPU_CV", 4960, 800), 3: ("VDD_SOC", 4960, 300)},
    ),
    "/sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "/sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "/sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
    "/sys/class/hwmon/hwmon2/oc3_event_cnt": "7\n",
    **cpus({0: (1_728_000, 729_600, 1_728_000), 4: (1_344_000, 729_600, 1_728_000)}),
    **device("17000000.gpu", 1_020_000_000, 306_000_000, 1_020_000_000),
    **zones(
        ("cpu-thermal", 51_000), ("gpu-thermal", 49_500), ("cv0-thermal", -256_000), ("tj-thermal", 52_250)
    ),
    "/sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "/sys/class/thermal/cooling_device0/cur_state": "2\n",
    "/sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "/sys/class/thermal/cooling_device1/cur_state": "0\n",
}
AGX_MODES = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_30W >\n"
AGX_ORIN: Files = {
    **jetson("NVIDIA Jetson AGX Orin Developer Kit", "tegra234", (36, "4.4"), 64_350_000, AGX_MODES, 2),
    **sensor(
        "/sys/class/hwmon/hwmon3",
        "ina3221",
        {1: ("VDD_GPU_SOC", 19_000, 300), 2: ("VDD_CPU_CV", 19_000, 100), 3: ("VIN_SYS_5V0", 4968, 1000)},
    ),
    **sensor(
        "/sys/class/hwmon/hwmon4",
        "ina3221",
        {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 4968, 80), 3: ("NC", 0, 0)},
    ),
    **cpus({0: (2_201_600, 115_200, 2_201_600)}),
    **device("17000000.gpu", 612_000_000, 306_000_000, 1_300_500_000),
    "/sys/kernel/debug/bpmp/debug/clk/emc/rate": "3199000000\n",
    "/sys/kernel/debug/bpmp/debug/clk/emc/min_rate": "204000000\n",
    "/sys/kernel/debug/bpmp/debug/clk/emc/max_rate": "3199000000\n",
    **zones(("cpu-thermal", 48_000), ("gpu-thermal", 44_000)),
}
THOR_MODES = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n"
THOR: Files = {
    **jetson("NVIDIA Jetson AGX Thor Developer Kit", "tegra264", (38, "2.0"), 128_800_000, THOR_MODES, 0),
    **sensor(
        "/sys/class/hwmon/hwmon2",
        "ina3221",
        {1: ("VDD_GPU", 12_000, 200), 2: ("VDD_CPU_SOC_MSS", 12_000, 500), 3: ("VIN_SYS_5V0", 5000, 1300)},
    ),
    "/sys/class/hwmon/hwmon3/name": "ina238\n",
    "/sys/class/hwmon/hwmon3/power1_input": "23500000\n",
    **cpus({0: (2_601_000, 54_000, 2_601_000)}),
    **device("gpu-gpc-0", 1_575_000_000, 315_000_000, 1_575_000_000),
    **device("gpu-nvd-0", 1_690_000_000, 400_000_000, 1_690_000_000),
    **zones(("tj-thermal", 46_000), ("gpu-thermal", -273_150)),
}
