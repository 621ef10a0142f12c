"""A checkpoint's files from the Hugging Face hub, resumed where an earlier download stopped."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sam3_edge.errors import EdgeError, ResourceError, SourceError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
BESIDE = ("config.json", "merges.txt", "tokenizer.json", "LICENSE*")
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", *BESIDE)
OFFICIAL = ("sam3*.pt", *BESIDE)
FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch(repository: str, *, revision: str | None, official: bool) -> Path:
    """Download a repository's checkpoint into the hub's cache; the answer is a folder named after the commit.

    Raises `SourceError` that says what to do about access, network or name, `ResourceError` for a full disk.
    """
    patterns = list(OFFICIAL if official else WEIGHTS)
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (HTTPError, OSError, HFValidationError, EntryNotFoundError) as error:
        raise explain(error, repository, revision) from error


def explain(error: Exception, repository: str, revision: str | None) -> EdgeError:
    """What a failed download means and what to do about it."""
    page = f"https://huggingface.co/{repository}"
    refused = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403)
    if isinstance(error, GatedRepoError) or (refused and not isinstance(error, RepositoryNotFoundError)):
        return SourceError(
            f"{repository}: no access. 1. Request it on {page} 2. Log in: `hf auth login`, or set HF_TOKEN"
        )
    match error:
        case RevisionNotFoundError():
            return SourceError(f"{repository}: no revision {revision!r}; see {page}/commits")
        case RepositoryNotFoundError() | HFValidationError():
            return SourceError(
                f"{repository}: no such file or folder here, and no such repository on the hub; "
                "check the name, or log in if it is private: `hf auth login`"
            )
        case LocalEntryNotFoundError():
            return SourceError(
                f"{repository}: the hub cannot be reached and nothing is cached; connect, or give a folder"
            )
        case OSError(errno=number) if number in FULL:
            return ResourceError(f"{repository}: no space left in the hub's cache; free some or set HF_HOME")
    return SourceError(f"{repository}: download failed ({error}); run the command again, it resumes")
