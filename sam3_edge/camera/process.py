"""Child processes that read cameras: they die with their parent, and leave nothing behind when killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque

from sam3_edge.camera.program import Program

LAST = 5  # lines that are kept of what a child says
# Asks the kernel to be killed when the thread that started it ends, before it becomes the program; in a group
# of its own, so that a terminal's Ctrl-C is for the parent alone, and a kill reaches its children. Not a
# `preexec_fn`: after a fork in a program with threads, Python may wait for ever for a lock.
BOUND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.setpgid(0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


def bound(words: tuple[str, ...]) -> list[str]:
    """The command line that becomes `words`, and is killed when its parent dies, on Linux."""
    if sys.platform != "linux":
        return list(words)
    return [sys.executable, "-I", "-S", "-c", BOUND, str(os.getpid()), *words]


class Child:
    """A running program. Started by the thread that reads it, for it dies with that thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.said: deque[str] = deque(maxlen=LAST)
        self.process = subprocess.Popen(
            bound(program.words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.output = self.process.stdout.fileno()
        threading.Thread(target=self.listen, daemon=True, name="camera-said").start()

    def begin(self) -> None:
        """Tell it what to read. Until then it gets ready: loading libraries takes longer than a camera."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{self.program.told}\n".encode())
            self.process.stdin.flush()
            if self.program.told.startswith("ffconcat"):
                self.process.stdin.close()  # a playlist ends

    def listen(self) -> None:
        """Keep the last lines that it says."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line.decode(errors="replace").strip())

    def kill(self) -> None:
        """End it and all its children, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):  # it is gone, or has no group yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
