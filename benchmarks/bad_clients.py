"""Fifty clients of a web view that mean no good, and a viewer who takes nothing: `... bad_clients PORT`.

Each tries five times a second, or as often as it is answered. Ends with its standard input.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import threading

BAD, APART = 50, 0.2  # clients, and seconds between the attempts of each


def requests(port: int) -> list[bytes]:
    """What is no request, what is none of theirs, and what never ends."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    return [
        b"\x16\x03\x01" + random.Random(1).randbytes(500),
        f"POST /login HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\nno secret".encode(),
        f"GET /ws HTTP/1.1\r\n{host}Origin: http://evil.example\r\n\r\n".encode(),
        b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /stream/0 HTTP/1.1\r\nHost: ",
    ]


def pester(port: int, request: bytes, over: threading.Event) -> None:
    """Connect, send, wait for the refusal, and again."""
    while not over.wait(APART):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as line:
            line.settimeout(5)
            line.sendall(request)
            line.recv(4096)


def main(port: int) -> None:
    over, viewer = threading.Event(), socket.create_connection(("127.0.0.1", port))
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.sendall(f"GET /stream/0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    sent = requests(port)
    for place in range(BAD):
        threading.Thread(target=pester, args=[port, sent[place % len(sent)], over], daemon=True).start()
    print("there", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
