"""Addresses of cameras, and where their secrets do not go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from camera_rig import until

from sam3_edge.camera.address import Secret, is_address, parse_address, read_secret
from sam3_edge.camera.program import READERS, Wish, program_for
from sam3_edge.errors import SourceError, UsageError

PASSWORD = "s3:cr@t wort/"
SECRET = "rtsp://anna:s3%3Acr%40t%20wort%2F@10.0.0.7:554/live?token=abcdefg"


@pytest.mark.parametrize(
    ("text", "kind", "place", "live"),
    [
        ("csi://0", "csi", "0", True),
        ("/dev/video2", "v4l2", "/dev/video2", True),
        ("v4l2://1", "v4l2", "/dev/video1", True),
        ("v4l2:///dev/by-id/cam", "v4l2", "/dev/by-id/cam", True),
        ("rtsp://h/p?a=b", "rtsp", "rtsp://h/p?a=b", True),
        ("HTTPS://h:81/x", "http", "https://h:81/x", True),
        ("http://u@h/x", "http", "http://h/x", True),
        ("gst://videotestsrc ! tee", "gst", "videotestsrc ! tee", True),
        ("clip.mp4", "video", "clip.mp4", False),
        ("a/b://c.mp4", "video", "a/b://c.mp4", False),
        ("-", "video", "-", False),
    ],
)
def test_an_address_is_taken_apart(text: str, kind: str, place: str, live: bool) -> None:
    address = parse_address(text)
    assert (address.kind, address.place, address.live) == (kind, place, live)
    assert is_address(text) == live


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("csi://front", "sensor's number"),
        ("rtsp://", "nothing follows"),
        ("rtsp:///path", "want rtsp://host"),
        ("rtsp://h:port/", "not a URL"),
        ("rtsp://a b/", "without spaces"),
        ("ftp://h/x", "choose from csi://"),
    ],
)
def test_an_address_that_cannot_be_is_refused(text: str, fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        parse_address(text)


def test_a_secret_is_in_the_url_and_nowhere_else() -> None:
    address = parse_address(SECRET)
    assert address.secret == Secret("anna", PASSWORD)
    assert address.url == SECRET
    assert str(address) == "rtsp://10.0.0.7:554/live?***"
    told = address.scrub(f"{SECRET}: refused, {PASSWORD} {address.place} s3%3Acr%40t%20wort%2F")
    for text in (str(address), repr(address), repr(address.secret), told):
        assert not any(word in text for word in ("anna", "s3", "wort", "abcdefg")), text
    with pytest.raises(UsageError) as error:
        parse_address("rtsp://anna:secret@h:x/")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("reader", READERS)
def test_no_program_has_a_secret_on_its_command_line(reader: str) -> None:
    """Every reader of network cameras is told the address through standard input."""
    address = parse_address(SECRET)
    if reader == "gstreamer":
        with pytest.raises(UsageError, match="does not read"):
            program_for(address, Wish(), reader)
        return
    program = program_for(address, Wish((480, 640), 5.0), reader)
    assert not any(word in " ".join(program.words) for word in ("anna", "s3", "10.0.0.7", "abcdefg"))
    assert "anna" in program.told


def test_credentials_come_from_a_file_of_its_owner_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAM3_EDGE_CREDENTIALS", raising=False)
    assert read_secret(None) is None
    monkeypatch.setenv("SAM3_EDGE_CREDENTIALS", f"anna:{PASSWORD}")
    assert read_secret(None) == Secret("anna", PASSWORD)
    path = tmp_path / "credentials"
    path.write_text("otto:x y\n")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert parse_address("http://h/", read_secret(path)).secret == Secret("otto", "x y")
    assert parse_address("http://anna:b@h/", read_secret(path)).secret == Secret("anna", "b")
    path.write_text("nothing")
    with pytest.raises(UsageError, match="user:password"):
        read_secret(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_secret(tmp_path / "missing")


def test_a_secret_on_our_own_command_line_is_written_over() -> None:
    """Another process reads /proc before and after."""
    code = (
        "import sys, time; from sam3_edge.camera.conceal import conceal; input();"
        "assert conceal(sys.argv[1:]); print('done', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, SECRET, "--push", "https://otto:hidden@h/x"]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
    line = Path(f"/proc/{child.pid}/cmdline")
    assert child.stdin and child.stdout
    try:
        until(lambda: b"wort" in line.read_bytes() and b"hidden" in line.read_bytes())
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"done\n"
        told = line.read_bytes()
        assert not any(word in told for word in (b"anna", b"wort", b"abcdefg", b"otto", b"hidden")), told
        assert b"@10.0.0.7:554/live?" in told
    finally:
        child.kill()
        child.communicate()
