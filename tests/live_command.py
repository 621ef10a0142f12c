"""`sam3-edge run` on a live source in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from camera_rig import until
from commands import ROOT

MODULE = (sys.executable, "-m", "sam3_edge", "run")


def heed_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class LiveCommand:
    """A running command, and what it says on stderr. `words`: behind `run`."""

    def __init__(self, folder: Path, *words: str, environment: dict[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.log = folder, folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*MODULE, *words],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                preexec_fn=heed_ctrl_c,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def page(self) -> str:
        """The address of its web view."""
        until(lambda: "watch at " in self.running())
        return self.said.split("watch at ")[1].split()[0]

    def running(self) -> str:
        """What it says, as long as it runs."""
        assert self.process.poll() is None, self.said
        return self.said

    def stop(self, number: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
