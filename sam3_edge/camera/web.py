"""The web view: one page, and a server that tells it to those who may see it. Who watches is in `viewers`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3_edge.camera.guard import COOKIE, Guard
from sam3_edge.camera.viewers import LONGEST, Viewers
from sam3_edge.errors import BackendError, UsageError

if TYPE_CHECKING:
    from aiohttp import web

    from sam3_edge.camera.live import Live

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HELD, MOST_HELD = 1.0, 256  # seconds that a refusal takes, and how many are held at a time
GOODBYE = 1.0  # seconds for connections to end


@dataclass(frozen=True)
class Serving:
    """Where to listen. `token`: None on a loopback address only; certificate and key: PEM files, for TLS."""

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    shown: bool = False  # whether the token is new, and has to be told


def library() -> Any:
    """The module `aiohttp.web`. Raises `BackendError` where there is none."""
    try:
        from aiohttp import web
    except ImportError as error:
        raise BackendError(f"--view web needs aiohttp ({error}): pip install 'sam3-edge[web]'") from error
    return web


class WebView(threading.Thread):
    """Serves until `stop`, on an event loop of its own."""

    def __init__(self, live: Live, serving: Serving) -> None:
        super().__init__(name="web", daemon=True)
        self.serving, self.web, self.loop = serving, library(), asyncio.new_event_loop()
        self.guard = Guard(serving.token, secure=serving.certificate is not None)
        self.viewers = Viewers(live, self.web, self.loop)
        self.held = 0
        self.started: Future[int] = Future()

    def begin(self) -> int:
        """Start, and say on which port. Raises `UsageError` for an address that cannot be listened on."""
        self.start()
        return self.started.result()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            runner = self.loop.run_until_complete(self.listen())
        except (OSError, ValueError) as error:  # an `SSLError` is an `OSError`
            place = f"{self.serving.host}:{self.serving.port}"
            self.started.set_exception(
                UsageError(f"{place} cannot be listened on ({error}): pass another --host or --port")
            )
            return
        self.viewers.start()
        self.loop.run_forever()
        self.loop.run_until_complete(self.viewers.leave())
        self.loop.run_until_complete(runner.cleanup())
        self.loop.close()

    async def listen(self) -> Any:
        """Bind, and publish the port."""

        @self.web.middleware  # type: ignore[untyped-decorator]
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.check(request, handler)

        app = self.web.Application(client_max_size=LONGEST, middlewares=[check])
        app.on_response_prepare.append(dress)
        for path in PAGE:
            app.router.add_get(path, self.page)
        app.router.add_post("/login", self.login)
        app.router.add_get("/stream/{number}", self.viewers.stream)
        app.router.add_get("/snapshot/{number}", self.viewers.snapshot)
        app.router.add_get("/health", self.viewers.health)
        app.router.add_get("/ws", self.viewers.control)
        runner = self.web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE)
        await runner.setup()
        context = None
        if self.serving.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.serving.certificate, self.serving.key)
        site = self.web.TCPSite(runner, self.serving.host, self.serving.port, ssl_context=context)
        await site.start()
        self.started.set_result(runner.addresses[0][1])
        return runner

    def stop(self) -> None:
        """Let go of all viewers."""
        self.viewers.stop()
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(5 * GOODBYE)

    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Host, Origin and cookie before anything is done."""
        headers, host = request.headers, request.headers.get("Host")
        if not self.guard.host(host):
            return await self.refuse(403, "this server does not go by that name")
        steers = request.method != "GET" or request.path == "/ws"
        elsewhere = headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if steers and not self.guard.origin(headers.get("Origin"), host):
            return await self.refuse(403, "another site asks")
        if elsewhere and request.path != "/":
            return await self.refuse(403, "another site asks")
        public = request.path in PAGE or request.path == "/login"
        if not public and not self.guard.knows(request.cookies.get(COOKIE)):
            return await self.refuse(401, "log in first")
        try:
            return await handler(request)
        except self.web.HTTPException as error:
            return await self.refuse(error.status, error.reason)

    async def refuse(self, status: int, text: str) -> web.Response:
        """An answer that is none, a little later, and the end of the connection: who guesses shall wait."""
        if self.held < MOST_HELD:
            self.held += 1
            try:
                await asyncio.sleep(HELD)
            finally:
                self.held -= 1
        response: web.Response = self.web.Response(status=status, text=f"{text}\n")
        response.force_close()
        return response

    async def page(self, request: web.Request) -> web.Response:
        """The page and its two files."""
        name, kind = PAGE[request.path]
        data = (resources.files("sam3_edge") / "data" / "camera" / name).read_bytes()
        response: web.Response = self.web.Response(body=data, content_type=kind, charset="utf-8")
        return response

    async def login(self, request: web.Request) -> web.StreamResponse:
        """The token for a cookie that scripts cannot read and other sites cannot send."""
        try:
            told = json.loads(await request.text())
        except (ValueError, RecursionError):
            told = None
        token = told.get("token") if isinstance(told, dict) else None
        cookie = self.guard.login(token, request.remote or "")
        if cookie is None:
            return await self.refuse(401, "wrong token, or too many attempts")
        response: web.Response = self.web.json_response({"ok": True})
        response.set_cookie(
            COOKIE, cookie, httponly=True, samesite="Strict", secure=self.guard.secure, path="/"
        )
        return response


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of everything that is sent."""
    response.headers.update(HEADERS)
