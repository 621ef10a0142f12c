"""What is read of machines: the right rails, modes and clocks where they are, and None where they are not."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machines import AGX_ORIN, ORIN_NANO, THOR, planted

from sam3_edge import registry
from sam3_edge.machine import clocks, nvml, power, tegrastats, vectors
from sam3_edge.machine.apple import apple_state
from sam3_edge.machine.command import redacted, say
from sam3_edge.machine.identity import identity
from sam3_edge.machine.tree import Tree
from sam3_edge.machine.watch import Machine, Watch, energy


def mute(command: Sequence[str]) -> None:
    """A machine without commands."""


@pytest.mark.parametrize(
    ("files", "model", "soc", "l4t", "jetpack", "mode"),
    [
        (ORIN_NANO, "Orin Nano", "nvidia,tegra234", "36.4.3", "6.2", {"id": 2, "name": "MAXN_SUPER"}),
        (AGX_ORIN, "AGX Orin", "nvidia,tegra234", "36.4.4", "6.2.1", {"id": 2, "name": "MODE_30W"}),
        (THOR, "AGX Thor", "nvidia,tegra264", "38.2.0", "7.0", {"id": 0, "name": "MAXN"}),
    ],
)
def test_which_jetson(
    tmp_path: Path,
    files: Mapping[str, str],
    model: str,
    soc: str,
    l4t: str,
    jetpack: str,
    mode: dict[str, Any],
) -> None:
    found = identity(planted(tmp_path, files), command=mute)
    assert model in found["model"] and "\0" not in found["model"]
    assert (found["soc"], found["l4t"], found["jetpack"], found["power_mode"]) == (soc, l4t, jetpack, mode)
    assert found["os"] == "Ubuntu 22.04.5 LTS"


@pytest.mark.parametrize(
    ("files", "rails", "total"),
    [
        (
            ORIN_NANO,
            {"VDD_IN": 9.92, "VDD_CPU_GPU_CV": 3.968, "VDD_SOC": 1.488},
            ("VDD_IN", 9.92),
        ),
        (
            AGX_ORIN,
            {"VDD_GPU_SOC": 5.7, "VDD_CPU_CV": 1.9, "VIN_SYS_5V0": 4.968, "VDDQ_VDD2_1V8AO": 0.39744},
            ("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 12.568),
        ),
        (
            THOR,
            {"VDD_GPU": 2.4, "VDD_CPU_SOC_MSS": 6.0, "VIN_SYS_5V0": 6.5, "VIN": 23.5},
            ("VIN", 23.5),
        ),
    ],
)
def test_rails(
    tmp_path: Path, files: Mapping[str, str], rails: dict[str, float], total: tuple[str, float]
) -> None:
    found = power.rails(planted(tmp_path, files))
    assert found == pytest.approx(rails)
    whole = power.total(found)
    assert whole is not None and whole.rail == total[0] and whole.watts == pytest.approx(total[1])


def test_thor_without_the_carriers_sensor(tmp_path: Path) -> None:
    files = {name: text for name, text in THOR.items() if "hwmon3" not in name}
    whole = power.total(power.rails(planted(tmp_path, files)))
    assert whole is not None and whole.rail == "VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0"
    assert "no sensor at its input" in whole.scope


@pytest.mark.parametrize(
    ("files", "cpu", "gpu", "emc"),
    [(ORIN_NANO, 1728, 1020, None), (AGX_ORIN, 2201.6, 612, 3199), (THOR, 2601, 1575, None)],
)
def test_clocks(tmp_path: Path, files: Mapping[str, str], cpu: float, gpu: float, emc: float | None) -> None:
    found = clocks.clocks(planted(tmp_path, files))
    assert clocks.cpu_mhz(found) == pytest.approx(cpu) and clocks.gpu_mhz(found) == pytest.approx(gpu)
    assert found.get("emc", {}).get("mhz") == emc
    assert found["cpu0"]["governor"] == "schedutil"


def test_heat_and_what_slowed_it_down(tmp_path: Path) -> None:
    tree = planted(tmp_path, ORIN_NANO)
    assert clocks.temperatures(tree) == {"cpu-thermal": 51.0, "gpu-thermal": 49.5, "tj-thermal": 52.25}
    assert clocks.cooling(tree) == {"pwm-fan (0)": 2.0}
    assert clocks.slowed(tree) == {"hwmon2/oc1_event_cnt": 0.0, "hwmon2/oc3_event_cnt": 7.0}
    assert clocks.available_mb(tree) == pytest.approx(7_802_000 / 2 * 1.024e-3)
    assert clocks.temperatures(planted(tmp_path / "thor", THOR)) == {"tj-thermal": 46.0}


def test_each_file_may_be_missing(tmp_path: Path) -> None:
    """Without any one of them nothing fails, and what hangs on it is None or left out."""
    for place, missing in enumerate(ORIN_NANO):
        tree = planted(tmp_path / str(place), {k: v for k, v in ORIN_NANO.items() if k != missing})
        machine = Machine(tree, command=mute)
        assert machine.state()["rails_w"].keys() <= {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
        machine.row()
        identity(tree, command=mute)
    tree = planted(tmp_path / "x", {k: v for k, v in ORIN_NANO.items() if not k.endswith("curr1_input")})
    assert "VDD_IN" not in power.rails(tree) and power.total(power.rails(tree)) is None


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    found = identity(tree, command=mute)
    unknown = ("model", "soc", "memory_mb", "os", "l4t", "jetpack", "power_mode", "virtual")
    assert all(found[name] is None for name in unknown)
    machine = Machine(tree, command=mute)
    row = machine.row()
    assert machine.total() is None and all(row[name] is None for name in row if name != "gpu_mb")
    state = machine.state()
    assert state["rails_w"] == {} and state["available_mb"] is None and state["macos"] is None
    with Watch(machine) as watch:
        pass
    assert watch.watts is None and energy(watch, None, 10, 1.0) is None
    assert watch.to_json()["watts"] is None


def test_rubbish_in_files(tmp_path: Path) -> None:
    files = {name: "rubbish\xff\n" for name in ORIN_NANO if "label" not in name and not name.endswith("name")}
    tree = planted(tmp_path, files | {"/proc/meminfo": "MemTotal: 1 kB\n"})
    assert power.rails(tree) == {} and clocks.temperatures(tree) == {}
    assert clocks.clocks(tree)["cpu0"]["mhz"] is None


def test_energy_is_net_of_idling(tmp_path: Path) -> None:
    tree = planted(tmp_path, ORIN_NANO)
    machine = Machine(tree, command=mute)
    with Watch(machine) as idle:
        pass
    planted(tmp_path, {"/sys/class/hwmon/hwmon1/curr1_input": "4000\n"})
    with Watch(machine) as during:
        pass
    found = energy(during, idle, frames=100, seconds=50.0)
    assert found is not None
    assert (found["rail"], found["scope"]) == ("VDD_IN", "input of the module")
    assert found["mean_w"] == pytest.approx(19.84) and found["idle_w"] == pytest.approx(9.92)
    assert found["j_per_frame"] == pytest.approx(9.92) and found["net_j_per_frame"] == pytest.approx(4.96)


def test_energy_of_a_processors_counter(tmp_path: Path) -> None:
    counter = "/sys/class/powercap/intel-rapl:0/energy_uj"
    tree = planted(tmp_path, {counter: "1000000\n"})
    now = iter([0.0, 0.1, 9.9, 10.0])
    with Watch(Machine(tree, command=mute), clock=lambda: next(now)) as during:
        planted(tmp_path, {counter: "51000000\n"})
    assert during.watts == pytest.approx(5.0)
    found = energy(during, None, frames=10, seconds=10.0)
    assert found is not None and found["rail"] == "package" and found["net_j_per_frame"] is None


def test_a_battery(tmp_path: Path) -> None:
    place = "/sys/class/power_supply/BAT0"
    files = {
        f"{place}/type": "Battery\n",
        f"{place}/voltage_now": "12000000\n",
        f"{place}/current_now": "500000\n",
    }
    tree = planted(tmp_path, files | {f"{place}/status": "Discharging\n"})
    assert power.rails(tree) == {"battery": 6.0}
    planted(tmp_path, {f"{place}/status": "Charging\n"})
    assert power.rails(tree) == {}


def test_tegrastats() -> None:
    line = (
        "11-26-2026 10:00:00 RAM 3276/7620MB (lfb 5x4MB) SWAP 0/3810MB (cached 0MB) "
        "CPU [44%@1420,off,3%@1420] EMC_FREQ 12%@2133 GR3D_FREQ 97%@[1007] "
        "cpu@51.2C soc0@49.5C gpu@50C tj@51.2C VDD_IN 9920mW/9800mW VDD_CPU_GPU_CV 3968mW/3900mW"
    )
    found = tegrastats.parse(line)
    assert found is not None and found["ram_mb"] == [3276, 7620] and found["cpu_percent"] == [44, None, 3]
    assert found["emc"] == {"percent": 12, "mhz": 2133} and found["gpu"] == {"percent": 97, "mhz": 1007}
    assert found["rails_w"] == {"VDD_IN": 9.92, "VDD_CPU_GPU_CV": 3.968}
    assert found["temperatures"]["soc0"] == 49.5
    assert tegrastats.parse("no such program") is None and tegrastats.parse("") is None
    assert tegrastats.once(("echo", line)) == found and tegrastats.once(("no-such-program",)) is None


class NvmlError(Exception):
    """As the library's."""


def fake_nvml(**answers: Any) -> Any:
    """A driver's library with one GPU, which does not tell what is not given."""

    def refuse(*_: Any) -> Any:
        raise NvmlError

    asked = {name: (lambda *_, value=value: value) for name, value in answers.items()}
    told = {"nvmlDeviceGetCount": lambda: 1, "nvmlDeviceGetHandleByIndex": lambda place: place}
    told |= {"nvmlSystemGetDriverVersion": lambda: b"570.1", "nvmlInit": lambda: None}
    named = {"NVMLError": NvmlError, "NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2, "NVML_TEMPERATURE_GPU": 0}
    rest = {"nvmlDeviceGetName": refuse, "nvmlDeviceGetPowerUsage": refuse}
    return SimpleNamespace(**{**rest, **told, **named, **asked})


def test_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = fake_nvml(
        nvmlDeviceGetName=b"NVIDIA L4",
        nvmlDeviceGetPowerUsage=72_000,
        nvmlDeviceGetMemoryInfo=SimpleNamespace(total=24e9, used=3e9),
        nvmlDeviceGetClockInfo=2040,
        nvmlDeviceGetTemperature=63,
        nvmlDeviceGetCurrentClocksThrottleReasons=0x24,
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=-1, usedGpuMemory=1e9)],
    )
    monkeypatch.setitem(sys.modules, "pynvml", full)
    machine = Machine(Tree(tmp_path), command=mute)
    (gpu,) = machine.state()["gpus"]
    assert (gpu["name"], gpu["driver"], gpu["watts"], gpu["others"]) == ("NVIDIA L4", "570.1", 72.0, 1)
    assert gpu["slowed"] == ["software power cap", "software thermal slowdown"]
    assert machine.row()["gpu_mb"] == 3000 and machine.row()["celsius"] == 63
    whole = machine.total()
    assert whole is not None and whole.watts == 72 and "NVML" in whole.rail
    (mute_gpu,) = nvml.gpus(fake_nvml())
    assert mute_gpu["watts"] is None and mute_gpu["memory_mb"] is None and mute_gpu["slowed"] is None


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.library() is None and nvml.gpus(None) == []

    def refuse() -> None:
        raise NvmlError

    broken = fake_nvml()
    broken.nvmlInit = refuse
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert nvml.library() is None


def test_a_mac(tmp_path: Path) -> None:
    said = {
        "hw.model": "Mac15,6",
        "machdep.cpu.brand_string": "Apple M3 Pro",
        "hw.memsize": "19327352832",
        "sw_vers": "ProductName:\tmacOS\nProductVersion:\t15.1\nBuildVersion:\t24B83",
        "therm": "CPU_Scheduler_Limit \t= 100\nCPU_Available_CPUs \t= 11\nCPU_Speed_Limit \t= 80",
        "batt": "Now drawing from 'Battery Power'\n -InternalBattery-0 80%;",
        "-g": " lowpowermode         1\n",
    }

    def command(words: Sequence[str]) -> str | None:
        return said.get(words[-1])

    found = identity(Tree(tmp_path), command=command)
    assert (found["model"], found["soc"], found["memory_mb"]) == ("Mac15,6", "Apple M3 Pro", 19327)
    assert found["os"] == "macOS 15.1 24B83"
    assert apple_state(command) == {
        "speed_limit_percent": 80,
        "available_cpus": 11,
        "low_power_mode": True,
        "fed_from": "Battery Power",
    }


def test_watching(tmp_path: Path) -> None:
    tree = planted(tmp_path, AGX_ORIN)
    with Watch(Machine(tree, command=mute)) as watch:
        planted(tmp_path, {"/sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n"})
    found = watch.to_json()
    assert found["readings"] == len(found["rows"]) == 2  # a run of no time: one before, one after
    assert found["gpu_mhz"] == {"min": 306.0, "mean": 459.0, "max": 612.0}
    assert found["gpu_mb"] is None and found["rows"][0][found["columns"].index("gpu_mb")] is None
    assert found["available_mb"]["min"] == pytest.approx(64_350_000 / 2 * 1.024e-3, rel=1e-3)
    assert not math.isnan(found["celsius"]["max"])


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("run rtsp://me:pass@cam/1", "run rtsp://***@cam/1"),
        ("--token abc --fps 3", "--token *** --fps 3"),
        ("--api-key=abc x", "--api-key=*** x"),
        ("HF_TOKEN=abc", "HF_TOKEN=***"),
        ("http://cam/x?user=a&password=b&q=1", "http://cam/x?user=a&password=***&q=1"),
        ("hf_abcdefghijkl", "***"),
        ("--objects 1,5 --quick", "--objects 1,5 --quick"),
        ("--credentials file --frames 3", "--credentials *** --frames 3"),
        ("benchmark /home/me/sam3 -o runs/here", "benchmark sam3 -o runs/here"),
        ("--output=/tmp/a/b.json --source /dev/video0", "--output=b.json --source /dev/video0"),
    ],
)
def test_passwords_and_folders_are_not_told(typed: str, shown: str) -> None:
    assert redacted(typed.split()) == shown.split()


def test_commands() -> None:
    assert say(["echo", "hello"]) == "hello"
    assert say(["false"]) is None and say(["no-such-program"]) is None


@pytest.mark.parametrize(
    ("machine", "flags", "limit"),
    [
        ("x86_64", "fma avx2", 64),
        ("x86_64", "avx2 avx512f avx512_vnni", 127),
        ("x86_64", "", 64),
        ("aarch64", "asimd", 127),
    ],
)
def test_int8_products_do_not_saturate(
    machine: str, flags: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(vectors, "cpuinfo", lambda what: flags)
    assert registry.load_module("quantize", "as_w8").Config().limit == limit
