"""A Hugging Face hub on this machine, with one open and one gated repository."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OPEN, GATED = "lab/open", "lab/gated"


@contextmanager
def fake_hub(folder: Path) -> Iterator[str]:
    """Serve the files of a folder in both repositories; gives the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def answer(self, body: bytes, *, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            kind, *parts = self.path.split("?")[0].strip("/").split("/")
            if kind == "api":
                self.describe("/".join(parts[1:3]), parts[3], parts[4])
            elif f"{kind}/{parts[0]}" == GATED:
                self.answer(b"", status=401, X_Error_Code="GatedRepo")
            else:
                body = (folder / parts[-1]).read_bytes()
                self.answer(body, ETag=f'"{parts[-1]}"', X_Repo_Commit=COMMIT)

        do_HEAD = do_GET

        def describe(self, repository: str, question: str, revision: str) -> None:
            files = [
                {"type": "file", "path": f.name, "oid": "0" * 40, "size": f.stat().st_size}
                for f in folder.iterdir()
            ]
            if repository not in (OPEN, GATED):
                self.answer(b"", status=404, X_Error_Code="RepoNotFound")
            elif revision not in ("main", COMMIT):
                self.answer(b"", status=404, X_Error_Code="RevisionNotFound")
            elif question == "tree":
                self.answer(json.dumps(files).encode())
            else:
                self.answer(json.dumps({"id": repository, "sha": COMMIT}).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
