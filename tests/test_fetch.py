"""Checkpoints from the hub: downloaded once, and clear about access, names and network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import COMMIT, GATED, OPEN, fake_hub
from huggingface_hub import constants
from tiny_huggingface import saved, tiny_model

from sam3_edge.errors import SourceError
from sam3_edge.export.checkpoint import load


def use(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub that serves a tiny checkpoint; gives the cache's folder."""
    source = saved(tiny_model(), tmp_path / "source")
    (source / "merges.txt").write_text("a b\n")
    (source / "README.md").write_text("not needed")
    with fake_hub(source) as endpoint:
        use(endpoint, tmp_path / "cache", monkeypatch)
        yield tmp_path / "cache"


def test_open_repository(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(OPEN)
    assert (found.name, found.revision) == (OPEN, COMMIT)
    assert found.merges is not None and found.merges.name == "merges.txt"
    assert not list(hub.rglob("README.md"))
    use("http://127.0.0.1:1", hub, monkeypatch)  # no network: what was downloaded is enough
    assert load(OPEN).sha256 == found.sha256


def test_gated_repository(hub: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load(GATED)
    assert caught.value.exit_code == 3
    for step in (
        f"1. Request it on https://huggingface.co/{GATED}",
        "2. Log in: `hf auth login`",
        "HF_TOKEN",
    ):
        assert step in str(caught.value)


def test_unknown_names(hub: Path) -> None:
    with pytest.raises(SourceError, match="no such repository on the hub"):
        load("lab/nothing")
    with pytest.raises(SourceError, match="no revision 'v9'"):
        load(OPEN, revision="v9")
    with pytest.raises(SourceError, match="no such repository on the hub"):
        load("a--b/c..d")


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use("http://127.0.0.1:1", tmp_path, monkeypatch)
    with pytest.raises(SourceError, match="cannot be reached and nothing is cached"):
        load(OPEN)
