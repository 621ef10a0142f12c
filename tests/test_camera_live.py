"""A live run as a whole, on the built-in model and a real HTTP camera."""

from __future__ import annotations

import http.server
import json
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from camera_rig import free_port, until, write_pictures

from sam3_edge import builtin_bundle, load
from sam3_edge.benchmarks.http_camera import Camera, pictures
from sam3_edge.camera.address import parse_address
from sam3_edge.camera.capture import Source
from sam3_edge.camera.feed import Feed
from sam3_edge.camera.live import Live, LivePlan, run
from sam3_edge.camera.orders import give
from sam3_edge.camera.program import Wish
from sam3_edge.camera.recorder import Recording
from sam3_edge.camera.sensors import power, resident, temperature
from sam3_edge.camera.shedding import Shedder, shed
from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.loop.settings import Settings
from sam3_edge.segmenter import Segmenter
from sam3_edge.video.results import read_results

RED, BLUE = "red circle", "blue star"


@pytest.fixture
def model() -> Iterator[Segmenter]:
    with load(builtin_bundle(), threads=1) as model:
        yield model


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera(pictures(), rate=10).start()
    yield camera
    camera.stop()


@contextmanager
def living(model: Segmenter, *sources: Source, plan: LivePlan | None = None) -> Iterator[Live]:
    """A run that is looked after by a thread, and ended."""
    live = Live(model, sources, plan or LivePlan((RED,)), note=print)
    thread = threading.Thread(target=run, args=[live], kwargs={"wait": live.stopping.wait})
    thread.start()
    try:
        yield live
    finally:
        live.stopping.set()
        thread.join(30)
        assert not thread.is_alive()


def do(live: Live, number: int = 0, **message: Any) -> Any:
    """Give an order, and wait for it."""
    return give(live.engine, live.feeds[number], message).result(30)


def ids(live: Live, concept: str | None = RED, number: int = 0) -> list[int]:
    """The objects of a concept on the newest frame."""
    seen = live.feeds[number].latest
    return [] if seen is None else seen.result.prompt_to_obj_ids.get(str(concept), [])


def both(live: Live) -> list[int]:
    """The two red circles, once they are both there."""
    found = ids(live)
    return found if len(found) == 2 else []


def shrunk(feed: Feed) -> bool:
    """Whether frames of 160 pixels come by another connection."""
    return bool(feed.run and feed.latest and feed.latest.frame.pixels.shape[0] == 160)


def test_phrases_come_and_go_and_the_ids_of_others_stay(model: Segmenter, camera: Camera) -> None:
    with living(model, Source(parse_address(camera.url))) as live:
        feed = live.feeds[0]
        before = until(both, live)
        graphs: list[tuple[str, str]] = []
        real = model.session.run

        def spied(graph: str, feeds: Any) -> Any:
            graphs.append((graph, threading.current_thread().name))
            return real(graph, feeds)

        model.session.run = spied  # type: ignore[method-assign]
        do(live, do="add", phrase=BLUE)
        until(lambda: ids(live, BLUE))
        texts = [thread for graph, thread in graphs if graph == "text"]
        assert len(texts) == 1 and texts[0].startswith("encoder")
        assert set(ids(live)) >= set(before)
        do(live, do="colour", concept=BLUE, colour="#102030")
        (told,) = [it for it in live.state()["feeds"][0]["concepts"] if it["name"] == BLUE]
        assert told["colour"] == "#102030" and told["boxes"] == 0 and told["count"] > 0
        do(live, do="remove", concept=BLUE)
        until(lambda: not ids(live, BLUE))
        assert set(ids(live)) >= set(before) and list(feed.asked) == [RED]
        with pytest.raises(UsageError, match="looked for already"):
            do(live, do="add", phrase="Red  circle")
        with pytest.raises(UsageError, match="not looked for"):
            do(live, do="remove", concept="cat")


def test_clicks_boxes_and_pauses(model: Segmenter, camera: Camera) -> None:
    with living(model, Source(parse_address(camera.url)), plan=LivePlan(())) as live:
        feed = live.feeds[0]
        first = until(lambda: feed.latest)
        clicked = do(live, do="point", x=0.4, y=0.35)
        assert clicked.concepts[-1] is None and clicked.ids[-1] == 0
        until(lambda: feed.latest is not first and 0 in (feed.latest.result.ids if feed.latest else []))
        do(live, do="pause", on=True)
        still = feed.latest
        assert still is not None
        corrected = do(live, do="point", x=0.4, y=0.4, positive=False, id=0)
        assert "correction" in {event.kind for event in corrected.events}
        again = feed.latest
        assert again is not None and again.frame is still.frame and again.serial > still.serial
        time.sleep(0.5)
        assert feed.latest is again
        do(live, do="drop", id=0)
        do(live, do="pause", on=False)
        until(lambda: feed.latest is not again)
        do(live, do="box", x0=0.55, y0=0.55, x1=0.2, y1=0.2)
        until(lambda: feed.asked.get("visual"))
        for wrong in ({"do": "fly"}, {"do": "point", "x": "1", "y": 0}, {"do": "add", "phrase": " "}, {}):
            with pytest.raises(UsageError):
                do(live, **wrong)
        with pytest.raises(UsageError, match="never there"):
            do(live, do="drop", id=99)


def test_a_model_that_is_slow_sees_the_newest_frame_and_holds_no_queue(
    model: Segmenter, camera: Camera
) -> None:
    """Ten times slower than the camera: a frame is at most as old as two steps, and the rest is dropped."""
    real = model.session.run
    ages: list[float] = []
    steps: list[float] = []
    camera.rate = 25

    def slow(graph: str, feeds: Any) -> Any:
        if graph == "backbone":
            time.sleep(0.4)
        return real(graph, feeds)

    model.session.run = slow  # type: ignore[method-assign]
    with living(model, Source(parse_address(camera.url))) as live:
        feed = live.feeds[0]
        serial = 0
        while len(ages) < 8:
            seen = until(feed.wait, serial, 1.0)
            serial = seen.serial
            ages.append(seen.age)
            steps.append(seen.step)
            assert len(feed.orders) == 0
    # The first step loads the graphs.
    late = [age / step for age, step in zip(ages[1:], steps[1:], strict=True)]
    assert sorted(late)[len(late) // 2] <= 2, late
    assert live.health()["feeds"][0]["dropped"] > 20


def test_two_sources_share_the_model_and_a_file_is_followed_whole(
    model: Segmenter, camera: Camera, tmp_path: Path
) -> None:
    folder = write_pictures(tmp_path / "clip")
    plan = LivePlan((RED,), recording=Recording(tmp_path / "out"))
    sources = (Source(parse_address(camera.url)), Source(parse_address(str(folder)), Wish(rate=100.0)))
    with living(model, *sources, plan=plan) as live:
        until(lambda: live.feeds[1].frames == len(pictures()) and live.feeds[0].frames > 3)
        assert live.feeds[1].slot.dropped == 0
        assert live.health()["feeds"][1]["state"] == "ended" and live.tick()
    found = list(read_results(tmp_path / "out" / "1" / "results.jsonl"))
    assert [result.index for result in found] == list(range(len(pictures())))
    assert sum(len(result) for result in found) > len(found)
    lines = (tmp_path / "out" / "0" / "results.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["source"]["name"] == camera.url
    assert {"wall", "age", "dropped"} <= json.loads(lines[1]).keys()


def test_identities_after_a_camera_was_gone(model: Segmenter, camera: Camera) -> None:
    """They go on, or begin anew; frames of another size are no reason to forget."""
    source = Source(parse_address(camera.url))
    for reset in (False, True):
        with living(model, source, plan=LivePlan((RED,), reset=reset)) as live:
            feed = live.feeds[0]
            before = until(both, live)
            camera.hang_up()
            camera.pictures = pictures(160)
            until(shrunk, feed)
            after = until(ids, live)
            camera.pictures = pictures()
            assert feed.errors == 0
            # A frame more, on a loaded machine, may hide an object or show a new one; none changes its name.
            same = set(after) <= set(before) or set(before) <= set(after)
            assert (min(after) > max(before)) if reset else same, (before, after)


def test_results_rotate_and_events_are_pictured(model: Segmenter, camera: Camera, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl").write_text("from an earlier run\n")
    recording = Recording(out, most_bytes=4000, most_files=3, snapshots=frozenset({"birth"}))
    with living(model, Source(parse_address(camera.url)), plan=LivePlan((RED,), recording=recording)) as live:
        until(lambda: (out / "results.000005.jsonl").exists())
        assert live.health()["recording"]["state"] == "on"
    names = sorted(path.name for path in out.glob("results*"))
    assert len(names) == 4 and names[-1] == "results.jsonl" and "results.000001.jsonl" not in names
    for name in names:
        assert sum(1 for _ in read_results(out / name)) > 0
    assert [path.name.rpartition("-")[2] for path in (out / "snapshots").iterdir()].count("birth.jpg") >= 1


def test_a_full_disk_stops_the_recording_and_nothing_else(
    model: Segmenter, camera: Camera, tmp_path: Path
) -> None:
    """By the system's own limit on the size of a file."""
    plan = LivePlan((RED,), recording=Recording(tmp_path / "out"), health=tmp_path / "health.json")
    with living(model, Source(parse_address(camera.url)), plan=plan) as live:
        feed = live.feeds[0]
        until(lambda: live.recorder and live.recorder.lines)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (tmp_path / "out" / "results.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
        try:
            until(lambda: live.recorder and live.recorder.why)
            seen = feed.frames
            until(lambda: feed.frames > seen + 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        told = until(told_of, tmp_path / "health.json", "recording stopped")
        assert told["status"] == "degraded" and told["recording"]["state"] == "stopped"
        assert live.recorder is not None
        live.recorder.next_try = 0
        until(lambda: live.health()["status"] == "ok")
    assert sum(1 for _ in read_results(tmp_path / "out" / "results.jsonl")) == live.recorder.lines


def told_of(path: Path, why: str) -> Any:
    """A health file that gives a reason."""
    told = json.loads(path.read_text()) if path.exists() else {"why": ""}
    return told if why in " ".join(told["why"]) else None


class Receiver(http.server.BaseHTTPRequestHandler):
    """Remembers what is pushed; refuses what has no password."""

    got: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/results")
        elif self.headers.get("Authorization") != "Basic b3R0bzpwdyE=":
            self.send_response(401)
        else:
            Receiver.got.append(body)
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def outcome(live: Live) -> int | str | None:
    """How many lines were pushed, or why none were."""
    assert live.pusher is not None
    return live.pusher.sent or live.pusher.why


def test_results_are_pushed_and_a_receiver_that_fails_costs_nothing(model: Segmenter, camera: Camera) -> None:
    Receiver.got = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    for place, good in (("otto:pw%21@", True), ("", False)):
        push = parse_address(f"http://{place}127.0.0.1:{port}/results")
        with living(model, Source(parse_address(camera.url)), plan=LivePlan((RED,), push=push)) as live:
            told = until(outcome, live)
            assert isinstance(told, int) == good
            if not good:
                assert "HTTP 401" in str(told) and live.health()["status"] == "degraded"
    lines = [json.loads(line) for body in Receiver.got for line in body.splitlines()]
    assert lines and {line["source"] for line in lines} == {camera.url}
    assert all("mask" not in it for line in lines for it in line["objects"])
    push = parse_address(f"http://otto:pw%21@127.0.0.1:{port}/moved")
    with living(model, Source(parse_address(camera.url)), plan=LivePlan((RED,), push=push)) as live:
        assert "HTTP 302" in until(lambda: live.pusher and live.pusher.why)
    server.shutdown()
    server.server_close()


def test_a_service_manager_is_told(
    model: Segmenter, camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real datagram socket in the place of systemd's; and what is stuck is not called alive."""
    place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    place.bind(str(tmp_path / "notify"))
    place.settimeout(30)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with living(model, Source(parse_address(camera.url))) as live:
        assert place.recv(100) == b"READY=1"
        assert place.recv(100) == b"WATCHDOG=1"
        monkeypatch.setattr("sam3_edge.camera.live.STUCK", -1.0)
        time.sleep(0.3)
        assert live.health()["status"] == "stuck"
        while select.select([place], [], [], 0)[0]:
            place.recv(100)
        time.sleep(0.5)
        assert not select.select([place], [], [], 0)[0]
        monkeypatch.setattr("sam3_edge.camera.live.STUCK", 30.0)
    assert until(lambda: place.recv(100) == b"STOPPING=1")
    place.close()


def test_objects_and_looks_are_shed_before_anything_fails(model: Segmenter, camera: Camera) -> None:
    settings = Settings(max_objects=8)
    rungs = [shed(settings, rung) for rung in range(6)]
    assert [(s.detect_every, s.max_objects) for s in rungs] == [
        (1, 8),
        (2, 8),
        (4, 8),
        (4, 4),
        (8, 2),
        (8, 1),
    ]
    plan = LivePlan((RED, BLUE), settings=settings, most_age=1e-6)
    with living(model, Source(parse_address(camera.url)), plan=plan) as live:
        until(lambda: live.shedders[0].rung == 5)
        seen = until(lambda: live.feeds[0].latest)
        until(lambda: live.feeds[0].latest is not seen)
        assert len(live.feeds[0].tracker.tracks) <= 1
        assert "shedding" in " ".join(live.health()["why"])
        live.shedders[0].most_age = 1e6
        until(lambda: live.shedders[0].rung < 5)
    assert isinstance(live.shedders[0], Shedder)


def test_too_much_memory_ends_the_run(model: Segmenter, camera: Camera) -> None:
    held = resident()
    assert held is not None and held > 10**7
    live = Live(model, [Source(parse_address(camera.url))], LivePlan((RED,), most_memory=held // 2))
    with pytest.raises(ResourceError, match="--max-memory allows"):
        run(live, wait=live.stopping.wait)
    assert not live.engine.is_alive()


def test_a_camera_that_is_not_there_is_waited_for(model: Segmenter) -> None:
    with living(model, Source(parse_address(f"http://127.0.0.1:{free_port()}/"))) as live:
        until(lambda: live.feeds[0].capture.restarts)
        assert live.health()["status"] == "degraded" and live.tick()


def test_sensors_are_read_from_the_system(tmp_path: Path) -> None:
    """Files as a Jetson has them: a zone that is off, and three rails."""
    assert temperature(tmp_path) is None and power(tmp_path) is None
    for place, value in enumerate(("-256000", "48500", "51250", "no")):
        zone = tmp_path / f"class/thermal/thermal_zone{place}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(value)
    rails = tmp_path / "class/hwmon/hwmon1"
    rails.mkdir(parents=True)
    for place, (name, volts, amperes) in enumerate(
        [("VDD_IN", 5000, 1840), ("VDD_CPU_GPU_CV", 5000, 600)], 1
    ):
        (rails / f"in{place}_label").write_text(f"{name}\n")
        (rails / f"in{place}_input").write_text(str(volts))
        (rails / f"curr{place}_input").write_text(str(amperes))
    assert temperature(tmp_path) == 51.25
    assert power(tmp_path) == pytest.approx(9.2)
    os.rename(rails / "in1_label", rails / "in9_label")
    assert power(tmp_path) == pytest.approx(3.0)
