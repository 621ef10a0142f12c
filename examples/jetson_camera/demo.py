"""Point a camera at the world, say what to look for, change your mind while it runs. Open the page it prints.

python demo.py csi://0 --bundle sam3-fp16-tensorrt --prompt person --prompt "coffee cup" --host 0.0.0.0
"""

import secrets
import signal
from pathlib import Path

import click

import sam3_edge
from sam3_edge.camera.address import parse_address, read_secret
from sam3_edge.camera.capture import Source
from sam3_edge.camera.guard import is_loopback
from sam3_edge.camera.live import Live, LivePlan, run
from sam3_edge.camera.program import Wish
from sam3_edge.camera.recorder import Recording
from sam3_edge.camera.web import Serving, WebView


def tell(feed, seen):
    """What a robot would act on: called with every frame. Be quick here, the next frame waits."""
    for event in seen.result.events:
        if event.kind in ("birth", "retraction"):
            print(f"{seen.age * 1000:5.0f} ms old: {event.kind} of {event.concept} #{event.id}", flush=True)


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--prompt", multiple=True, required=True)
@click.option("--size", default="1280x720", show_default=True)
@click.option("--fps", default=30.0, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=7860, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for results.jsonl and pictures of births."
)
def main(sources, bundle, prompt, size, fps, host, port, output):
    width, height = map(int, size.split("x"))
    wish = Wish(size=(height, width), rate=fps)
    cameras = [Source(parse_address(source, read_secret(None)), wish) for source in sources]
    recording = Recording(output, snapshots=frozenset({"birth"})) if output else None
    with sam3_edge.load(bundle) as model:
        live = Live(model, cameras, LivePlan(prompt, recording=recording, most_age=1.0), note=print)
        live.engine.watchers.append(tell)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: live.stopping.set())
        token = None if is_loopback(host) else secrets.token_urlsafe(24)
        view = WebView(live, Serving(host, port, token))
        print(f"http://{host}:{view.begin()}/" + (f"#token={token}" if token else ""), flush=True)
        try:
            run(live, wait=live.stopping.wait)
        finally:
            view.stop()


if __name__ == "__main__":
    main()
