"""The examples as they stand: the demo on a real stream, the ROS node on stand-ins for messages."""

from __future__ import annotations

import configparser
import importlib.util
import io
import json
import shlex
import signal
import subprocess
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_rig import free_port
from commands import ROOT
from PIL import Image

from sam3_edge.benchmarks.http_camera import Camera, pictures

EXAMPLES = ROOT / "examples"


def test_the_camera_demo(tmp_path: Path) -> None:
    camera, port = Camera(pictures(), rate=8).start(), free_port()
    demo = EXAMPLES / "jetson_camera" / "demo.py"
    assert len(demo.read_text().splitlines()) <= 60
    words = [
        sys.executable,
        str(demo),
        camera.url,
        "--prompt",
        "red circle",
        "--port",
        str(port),
        "--size",
        "224x224",
    ]
    run = subprocess.Popen([*words, "--output", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout
        assert run.stdout.readline() == f"http://127.0.0.1:{port}/\n"
        assert "birth of red circle #0" in run.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as told:
            assert json.load(told)["feeds"][0]["seen"] > 0
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
        assert (tmp_path / "results.jsonl").exists()
    finally:
        run.kill()
        run.communicate()
        camera.stop()


def test_the_unit_calls_the_command_as_it_is() -> None:
    """Every flag of ExecStart exists, and systemd's names are written as it knows them."""
    from sam3_edge.verbs.run import command

    text = (EXAMPLES / "jetson_camera" / "sam3-edge-camera.service").read_text().replace("\\\n", " ")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    words = shlex.split(unit["Service"]["ExecStart"])
    flags = {name for option in command.params for name in option.opts}
    assert words[1] == "run" and {word for word in words if word.startswith("-")} <= flags
    docker = (EXAMPLES / "jetson_camera" / "Dockerfile").read_text()
    entry = json.loads(docker.partition("ENTRYPOINT ")[2].splitlines()[0])
    assert entry[:2] == ["sam3-edge", "run"] and {word for word in entry if word.startswith("-")} <= flags


class Message(types.SimpleNamespace):
    """A stand-in for any of ROS's messages: fields are there once they are named."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = [] if name in ("detections", "results") else Message()
        setattr(self, name, made)
        return made


class Node:
    """A stand-in for rclpy's node: parameters, and topics as lists of what was published."""

    def __init__(self, name: str) -> None:
        self.parameters: dict[str, Any] = {}
        self.published: dict[str, list[Any]] = {}

    def declare_parameter(self, name: str, value: Any) -> None:
        self.parameters[name] = types.SimpleNamespace(value=["red circle"] if name == "prompts" else value)

    def get_parameter(self, name: str) -> Any:
        return self.parameters[name]

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        return types.SimpleNamespace(publish=self.published.setdefault(topic, []).append)

    def create_subscription(self, kind: Any, topic: str, heard: Any, depth: Any) -> None:
        setattr(self, f"on_{topic}", heard)


def module(**values: Any) -> types.ModuleType:
    made = types.ModuleType("stand-in")
    vars(made).update(values)
    return made


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "bgra8"])
def test_the_ros_node_on_stand_ins(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        name: type(name, (Message,), {}) for name in ("Image", "String", "Detection2D", "Detection2DArray")
    }
    kinds["ObjectHypothesisWithPose"] = type("ObjectHypothesisWithPose", (Message,), {})
    policy = types.SimpleNamespace(BEST_EFFORT=0)
    qos = module(QoSProfile=Message, ReliabilityPolicy=policy)
    for name in ("sensor_msgs", "std_msgs", "vision_msgs"):
        monkeypatch.setitem(sys.modules, name, module())
        monkeypatch.setitem(sys.modules, f"{name}.msg", module(**kinds))
    for name, made in (("rclpy", module()), ("rclpy.node", module(Node=Node)), ("rclpy.qos", qos)):
        monkeypatch.setitem(sys.modules, name, made)
    spec = importlib.util.spec_from_file_location("node", EXAMPLES / "ros2" / "sam3_edge_node.py")
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    node: Any = found.Sam3Edge()
    assert len((EXAMPLES / "ros2" / "sam3_edge_node.py").read_text().splitlines()) <= 100
    order = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "bgra8": (2, 1, 0, 0)}[encoding]
    for place, data in enumerate(pictures()[:6]):
        pixels = np.asarray(Image.open(io.BytesIO(data)))[..., list(order)]
        rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, 5)))  # lines may be padded
        node.on_image(
            Message(
                data=rows.tobytes(),
                height=224,
                width=224,
                step=rows.shape[1],
                encoding=encoding,
                header=place,
            )
        )
        if place == 2:
            node.on_look_for(Message(data="Red circle, blue star"))
    masks, objects = node.published["masks"], node.published["objects"]
    assert len(masks) == len(objects) == 6
    last = np.frombuffer(masks[-1].data, np.uint16).reshape(224, 224)
    names = [one.results[0].hypothesis.class_id for one in objects[-1].detections]
    assert {"red circle", "blue star"} == set(names)
    assert set(np.unique(last)) - {0} <= {int(one.id) + 1 for one in objects[-1].detections}
    ids = [one.id for one in objects[2].detections]
    assert set(ids) <= {one.id for one in objects[-1].detections}
    x, y = (getattr(objects[-1].detections[0].bbox.center.position, axis) for axis in "xy")
    assert last[round(y), round(x)] == int(objects[-1].detections[0].id) + 1
    node.on_look_for(Message(data="blue star"))
    assert list(node.tracker.concepts) == ["blue star"]
    node.model.close()
