"""An RTSP server on a loopback port that plays JPEG pictures for ever: run by the system's Python.

`python3 rtsp_server.py FOLDER SIDE PORT RATE [USER PASSWORD]`, of square pictures; prints `ready`. With
SIGUSR1 its clock stands still: the same picture with the same time, again and again. Needs python3-gi,
gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ACCESS = "user,media.factory.access=(boolean)true,media.factory.construct=(boolean)true"
LAUNCH = "( appsrc name=source is-live=true format=time caps={caps} ! rtpjpegpay name=pay0 )"


class Player:
    """Pushes the pictures into every media that is opened."""

    def __init__(self, folder: str, rate: float) -> None:
        self.pictures = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
        self.step, self.frozen = Gst.SECOND / rate, False

    def configure(self, factory: Any, media: Any) -> None:
        """A media is about to be played."""
        source, place = media.get_element().get_child_by_name("source"), [0]

        def push() -> bool:
            place[0] += not self.frozen
            buffer = Gst.Buffer.new_wrapped(self.pictures[place[0] % len(self.pictures)])
            buffer.pts = int(place[0] * self.step)
            return bool(source.emit("push-buffer", buffer) == Gst.FlowReturn.OK)

        GLib.timeout_add(int(self.step / Gst.MSECOND), push)

    def freeze(self, *_: Any) -> bool:
        self.frozen = not self.frozen
        return True


def main(folder: str, side: str, port: str, rate: str, *credentials: str) -> None:
    Gst.init(None)
    player, server = Player(folder, float(rate)), GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(LAUNCH.format(caps=f"image/jpeg,width={side},height={side},framerate=0/1"))
    factory.connect("media-configure", player.configure)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, player.freeze)
    if credentials:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(*credentials, token)
        server.set_auth(auth)
        factory.add_role_from_structure(Gst.Structure.new_from_string(ACCESS))
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
