"""`run` on live sources: its options, and what it does with them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sam3_edge.verbs.options import COUNT, FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sam3_edge.camera.live import Live
    from sam3_edge.camera.web import Serving, WebView

POSITIVE = click.FloatRange(min=0, min_open=True)
OPTIONS = (
    click.option(
        "--view", type=click.Choice(["none", "window", "web"]), help="Where a live picture is shown."
    ),
    click.option(
        "--host",
        help="Address that --view web listens on; any but loopback needs a token.  [default: 127.0.0.1]",
    ),
    click.option(
        "--port", type=click.IntRange(0, 65535), help="Its port; 0 for a free one.  [default: 7860]"
    ),
    click.option(
        "--token-file", type=FOLDER, help="Token of --view web; else $SAM3_EDGE_TOKEN, else a new one."
    ),
    click.option("--tls-cert", type=FOLDER, help="Certificate of --view web, PEM."),
    click.option("--tls-key", type=FOLDER, help="Its key."),
    click.option(
        "--credentials", type=FOLDER, help="File with user:password of cameras; else $SAM3_EDGE_CREDENTIALS."
    ),
    click.option(
        "--reader", type=click.Choice(["opencv", "ffmpeg", "gstreamer"]), help="What reads cameras."
    ),
    click.option("--codec", type=click.Choice(["mjpeg", "yuyv", "h264"]), help="Of a USB camera."),
    click.option(
        "--flip", type=click.Choice(["horizontal", "vertical", "90", "180", "270"]), help="Of every frame."
    ),
    click.option("--loop", is_flag=True, help="Begin a file or a folder again when it is over."),
    click.option(
        "--on-reconnect",
        type=click.Choice(["keep", "reset"]),
        help="Identities after a camera was gone.  [default: keep]",
    ),
    click.option(
        "--max-age", type=POSITIVE, help="Seconds: when frames get older, look more rarely, follow fewer."
    ),
    click.option("--snapshot-on", help="Events that are pictured, such as birth,removal."),
    click.option("--rotate-mb", type=COUNT, help="Size at which results.jsonl begins anew.  [default: 64]"),
    click.option("--keep-files", type=COUNT, help="Earlier results.jsonl that are kept.  [default: 16]"),
    click.option("--push", help="http(s) address that gets results as JSON lines."),
    click.option("--duration", type=POSITIVE, help="Seconds after which a live run ends."),
    click.option("--max-memory", type=COUNT, help="Megabytes: less is done near it, exit code 6 above it."),
    click.option("--health", type=FOLDER, help="File that says every second how it goes."),
)
ONLY_CAMERA = {
    name.replace("-", "_"): f"--{name}"
    for name in (
        *(
            "view",
            "host",
            "port",
            "token-file",
            "tls-cert",
            "tls-key",
            "credentials",
            "reader",
            "codec",
            "flip",
        ),
        *("loop", "on-reconnect", "max-age", "snapshot-on", "rotate-mb", "keep-files", "push", "duration"),
        *("max-memory", "health"),
    )
}


def camera_options(command: Callable[..., None]) -> Callable[..., None]:
    """All options that only live runs have."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def run(
    sources: Sequence[str], *, json_: bool, view: str | None, bundle: Path | None, **options: Any
) -> None:
    """Live sources until they are over, or somebody stops it."""
    # Before anything is loaded, so that a run which is stopped while it loads ends as well as any other.
    with stopping_on_signals(threading.Event()) as stopping:
        summary = follow(sources, view=view, bundle=bundle, stopping=stopping, **options)
    if json_:
        from sam3_edge import console

        console.emit(summary)
    else:
        for feed in summary["feeds"]:
            click.echo("{source}: {seen} frames, {dropped} dropped, {restarts} restarts".format(**feed))


def follow(
    sources: Sequence[str],
    *,
    view: str | None,
    bundle: Path | None,
    stopping: threading.Event,
    **options: Any,
) -> dict[str, Any]:
    """The run itself; what it came to."""
    from sam3_edge import load
    from sam3_edge.camera.conceal import conceal
    from sam3_edge.camera.live import Live
    from sam3_edge.verbs.live_plan import plan_of, serving_of, sources_of

    if not conceal([*sources, *([options["push"]] if options["push"] else [])]):
        warn("the password in the address can be seen in the list of processes: pass --credentials FILE")
    found, plan = sources_of(sources, **options), plan_of(**options)
    serving = serving_of(**options) if view == "web" else None
    with load(bundle, threads=options["threads"], device=options["device"]) as model:
        for lost in model.phrases.truncated(plan.phrases):
            warn(lost)
        live = Live(model, found, plan, note=note, stopping=stopping)
        show(live, view or "none", serving)
        return summary_of(live)


def show(live: Live, view: str, serving: Serving | None) -> None:
    """Run with a view."""
    from sam3_edge.camera.live import run as run_live

    if view == "window":
        from sam3_edge.camera.window import Window

        window = Window(live)
        try:
            run_live(live, wait=window.wait)
        finally:
            window.close()
        return
    if serving is None:
        run_live(live, wait=live.stopping.wait)
        return
    from sam3_edge.camera.web import WebView

    web = WebView(live, serving)
    announce(web, serving)
    try:
        run_live(live, wait=live.stopping.wait)
    finally:
        web.stop()


def announce(web: WebView, serving: Serving) -> None:
    """Listen, and say where."""
    from sam3_edge.camera.guard import is_loopback

    port = web.begin()
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    mark = f"#token={serving.token}" if serving.shown and serving.token else ""
    note(f"watch at {web.guard.scheme}://{host}:{port}/{mark}")
    if serving.certificate is None and not is_loopback(serving.host):
        warn("without --tls-cert everybody on the way can read the pictures and the token")


@contextmanager
def stopping_on_signals(stopping: threading.Event) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end a live run well, which is its normal end; a second one ends it at once."""

    def stop(number: int, _: Any) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # children die with their parent
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary_of(live: Live) -> dict[str, Any]:
    """What `--json` says at the end."""
    health = live.health()
    names = ("bundle", "uptime_s", "recording", "push", "memory_mb")
    feeds = [{key: value for key, value in feed.items() if key != "state"} for feed in health["feeds"]]
    return {**{name: health[name] for name in names}, "feeds": feeds}


def note(text: str) -> None:
    """A line for people and for the journal."""
    from sam3_edge import console

    console.note(f"{time.strftime('%H:%M:%S')} {text}")


def warn(text: str) -> None:
    note(f"warning: {text}")
