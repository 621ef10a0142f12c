"""An RTSP server that is killed again and again: `cd tests && python -m rtsp_kills --output FILE`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from camera_rig import Rtsp, until, write_pictures

from sam3_edge.camera.address import parse_address
from sam3_edge.camera.capture import Capture, Source
from sam3_edge.camera.program import Wish
from sam3_edge.camera.slot import Slot


def kill_often(count: int, folder: Path, *, rate: float) -> list[float]:
    """Seconds from every return of the server to the next frame."""
    server = Rtsp(write_pictures(folder), rate=rate).start()
    capture = Capture(Source(parse_address(server.url), Wish()), Slot(keeps=False))
    capture.start()
    took = []
    try:
        until(lambda: capture.count)
        for _ in range(count):
            server.kill()
            until(lambda: capture.state == "waiting")
            server.start()
            began, before = time.monotonic(), capture.count
            until(lambda before=before: capture.count > before)
            took.append(time.monotonic() - began)
            print(f"kill {len(took)}: a frame {took[-1]:.2f} s after the return", flush=True)
    finally:
        capture.stop()
        server.kill()
    return took


@click.command()
@click.option("--count", default=100, show_default=True)
@click.option("--rate", default=5.0, show_default=True, help="Frames a second.")
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(count: int, rate: float, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        took = kill_often(count, Path(folder) / "clip", rate=rate)
    lines = [
        f"kill {place}: a frame {seconds:.2f} s after the return" for place, seconds in enumerate(took, 1)
    ]
    late = sum(seconds > 5 for seconds in took)
    lines.append(f"{len(took)} kills, slowest {max(took):.2f} s, {late} later than 5 s")
    output.write_text("\n".join(lines) + "\n")
    raise SystemExit(5 if late else 0)


if __name__ == "__main__":
    main()
