"""An HTTP camera on a loopback port that plays JPEG pictures for ever, as cheap network cameras do."""

from __future__ import annotations

import base64
import http.server
import sys
import threading
import time
from pathlib import Path


class Camera(http.server.ThreadingHTTPServer):
    """`multipart/x-mixed-replace` on every path. `frozen`: connections stay, and nothing more is sent."""

    daemon_threads = True

    def __init__(
        self, pictures: list[bytes], *, rate: float, port: int = 0, login: str | None = None
    ) -> None:
        """`login`: user:password, without which nothing is given."""
        super().__init__(("127.0.0.1", port), Answer)
        self.pictures, self.rate = pictures, rate
        self.login = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
        self.frozen = threading.Event()
        self.began = time.monotonic()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/live"

    def start(self) -> Camera:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """The camera is unplugged: the port is closed, and so are all connections."""
        self.frozen.set()
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        if self.server.login not in (None, self.headers.get("Authorization")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while True:
                place = int((time.monotonic() - self.server.began) * self.server.rate)
                if not self.server.frozen.is_set():
                    data = self.server.pictures[place % len(self.server.pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(1 / self.server.rate)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    folder, port, rate, *rest = sys.argv[1:]
    found = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
    Camera(found, rate=float(rate), port=int(port), login=rest[0] if rest else None).serve_forever()
