"""A bundle appears whole or not at all, and nothing of the user's is deleted for it."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from tiny_bundle import MANIFEST, fill, make, snapshot

from sam3_edge.bundle import verify
from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.staging import seal, staging


def _write(place: Path, *, seed: int = 0, overwrite: bool = False) -> str:
    with staging(place, overwrite=overwrite) as folder:
        fill(folder, seed)
        return seal(folder, MANIFEST)


def _interrupted(place: Path, error: type[BaseException], *, overwrite: bool = True) -> None:
    with staging(place, overwrite=overwrite) as folder:
        fill(folder, seed=1)
        raise error


def test_a_staged_bundle_is_complete(tmp_path: Path) -> None:
    with staging(tmp_path / "new" / "bundle") as folder:
        assert folder.parent == tmp_path / "new" and folder.name.startswith(".bundle.")
        fill(folder)
        digest = seal(folder, MANIFEST)
        assert not (tmp_path / "new" / "bundle").exists()
    assert verify(tmp_path / "new" / "bundle").hash == digest
    assert os.listdir(tmp_path / "new") == ["bundle"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "new" / "bundle").stat().st_mode & 0o777 == 0o777 & ~umask


def test_sealing_twice_is_the_same_bytes(tmp_path: Path) -> None:
    assert _write(tmp_path / "one") == _write(tmp_path / "two")
    first = snapshot(tmp_path / "one")
    assert first == snapshot(tmp_path / "two")
    seal(tmp_path / "two", MANIFEST)
    assert first == snapshot(tmp_path / "two")
    assert _write(tmp_path / "three", seed=3) != _write(tmp_path / "one", overwrite=True)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        _interrupted(tmp_path / "a" / "b" / "bundle", error)
    assert snapshot(tmp_path) == {}


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    os.symlink(tmp_path / "bundle", tmp_path / "latest")
    before = snapshot(tmp_path)
    for name in ("bundle", "latest"):
        with pytest.raises(UsageError, match="exists: pass --overwrite or another -o"):
            _interrupted(tmp_path / name, ZeroDivisionError, overwrite=False)
    assert snapshot(tmp_path) == before


def test_overwrite_replaces_a_bundle_even_a_damaged_one(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    (tmp_path / "bundle/LICENSE").unlink()
    (tmp_path / "bundle/empty.txt").write_text("not any more")
    digest = _write(tmp_path / "bundle", seed=1, overwrite=True)
    assert verify(tmp_path / "bundle").hash == digest
    assert os.listdir(tmp_path) == ["bundle"]


def test_overwrite_fills_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert _write(tmp_path / "bundle", overwrite=True) == verify(tmp_path / "bundle").hash


def test_overwrite_never_deletes_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"dear to me")
    (tmp_path / "file").write_bytes(b"also")
    (tmp_path / "javascript").mkdir()
    (tmp_path / "javascript/bundle.json").write_text("{}")
    make(tmp_path / "bundle")
    (tmp_path / "bundle/notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    for name in ("photos", "file", "javascript"):
        with pytest.raises(UsageError, match=f"{name} is no bundle that can be overwritten: remove it or"):
            _write(tmp_path / name, overwrite=True)
    with pytest.raises(
        UsageError, match=r"bundle holds 'notes\.txt', which is no part of the bundle: move it"
    ):
        _write(tmp_path / "bundle", overwrite=True)
    assert snapshot(tmp_path) == before


def test_notes_that_come_while_exporting_are_kept(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    with pytest.raises(UsageError, match=r"notes\.txt"), staging(tmp_path / "bundle", overwrite=True):
        (tmp_path / "bundle/notes.txt").write_text("mine")
    assert (tmp_path / "bundle/notes.txt").read_text() == "mine" and os.listdir(tmp_path) == ["bundle"]


def test_an_output_that_comes_while_exporting_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"), staging(tmp_path / "bundle"):
        (tmp_path / "bundle").mkdir()
    assert os.listdir(tmp_path) == ["bundle"]


def test_the_old_bundle_stays_when_writing_or_renaming_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "bundle")
    before, rename = snapshot(tmp_path), os.rename
    with pytest.raises(ZeroDivisionError):
        _interrupted(tmp_path / "bundle", ZeroDivisionError)
    assert snapshot(tmp_path) == before

    def fail_once(old: Path, new: Path) -> None:
        if ".partial-" in old.name:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(old, new)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\): pass another -o"):
        _write(tmp_path / "bundle", seed=1, overwrite=True)
    assert snapshot(tmp_path) == before


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\): pass another -o"):
        _write(tmp_path / "file" / "bundle")
    with pytest.raises(UsageError, match=r"cannot be written \(File name too long\)"):
        _write(tmp_path / "made" / ("x" * 255))
    with pytest.raises(UsageError, match="cannot be written"):
        _write(Path("/proc/bundle"))
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_over_the_limit_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(
            ResourceError, match=r"bundle: File too large \(\d+ bytes free\), nothing was kept"
        ):
            _write(tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(tmp_path) == {}


def _fill_the_disk(folder: Path) -> None:
    fill(folder)
    # A device that answers every write as a full disk does: the error is the kernel's own.
    (folder / "weights").symlink_to("/dev/full")
    (folder / "weights").write_bytes(b"x")


def test_a_full_disk_leaves_nothing_and_keeps_the_old_bundle(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    before = snapshot(tmp_path)
    for name in ("bundle", "new/bundle"):
        with (
            pytest.raises(ResourceError, match=r"bundle: No space left on device \(\d+ bytes free\)"),
            staging(tmp_path / name, overwrite=True) as folder,
        ):
            _fill_the_disk(folder)
        assert snapshot(tmp_path) == before
