"""The official `sam3.pt`: every tensor in its place, and no code run on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from oracles.recording import Recording, load_recording

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.export import weights_pt
from sam3_edge.export.checkpoint import load
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import bundled_merges


@pytest.fixture(scope="module")
def recording() -> Recording:
    return load_recording()


def official_file(recording: Recording, folder: Path) -> Path:
    """`sam3.pt`, tiny: nested, with the tracker's tensors and complex constants."""
    tensors = {name: torch.from_numpy(weight) for name, weight in recording.weights().items()}
    tensors |= {name: torch.ones(s, dtype=torch.complex64) for name, s in recording.constants.items()}
    assert any(name.startswith("tracker.") for name in tensors) and recording.constants
    torch.save({"model": tensors}, folder / "sam3.pt")
    return folder / "sam3.pt"


def test_official(recording: Recording, tmp_path: Path) -> None:
    """Every tensor has its place: features, prompt tokens, and with theirs the detector's answer."""
    config = ModelConfig.from_json(recording.config)
    found = load(official_file(recording, tmp_path), official=True, config=config)
    assert found.name == "sam3.pt" and found.licence == "SAM" and found.merges == bundled_merges()
    case = next(case for case in recording.cases if case.name == "square_full")  # no padding in the phrase
    tokens = (torch.from_numpy(x) for x in (case.raw.text_tokens, case.raw.exemplar_tokens))
    prompt = torch.cat(tuple(tokens), dim=1)
    bias = torch.zeros(1, 1, 1, prompt.shape[1])
    with torch.no_grad():
        trunk = found.model.backbone(torch.from_numpy(case.picture.image))
        levels = found.model.detector_features(trunk)
        text = found.model.text(torch.from_numpy(case.token_ids))
        _, queries, _, logits, presence = found.model.detector(levels[2], prompt, bias)
    answers = {
        "trunk feature": (trunk, case.picture.trunk_feature),
        "features": (levels[2], case.picture.features_1x),
        "text": (text, case.raw.text_tokens),
        "queries": (queries, case.raw.queries),
        "logits": (logits, case.raw.logits),
        "presence": (presence, case.raw.presence),
    }
    for name, (mine, theirs) in answers.items():
        expected = torch.from_numpy(theirs)
        assert (mine - expected).norm() <= 1e-5 * expected.norm(), name


def test_official_must_be_asked_for(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "sam3.pt")
    for place in (tmp_path, tmp_path / "sam3.pt"):
        with pytest.raises(UsageError, match="pass --official"):
            load(place)


class Malice:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "here")


def test_pickles_run_no_code(tmp_path: Path) -> None:
    torch.save({"model": {"weight": Malice(tmp_path / "harm")}}, tmp_path / "sam3.pt")
    with pytest.raises(SourceError, match="holds more than weights"):
        load(tmp_path / "sam3.pt", official=True)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], {"model": {"weight": 3}}])
def test_pickles_without_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "sam3.pt")
    with pytest.raises(CheckError, match=r"want sam3\.pt"):
        weights_pt.read_tensors(tmp_path / "sam3.pt")


def test_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").write_bytes(b"<html>404</html>")
    with pytest.raises(SourceError, match="download it again"):
        weights_pt.read_tensors(tmp_path / "sam3.pt")


def test_official_tracker(recording: Recording, tmp_path: Path) -> None:
    """Every tensor of the tracker has a place, some after a change that the product does not see."""
    config = ModelConfig.from_json(
        recording.config | {"memory_layers": 2, "memory_dim": 16, "memory_mlp": 128}
    )
    theirs = {name: torch.from_numpy(weight) for name, weight in recording.weights().items()}
    ours = load(official_file(recording, tmp_path), official=True, config=config).model.tracker.state_dict()
    assert torch.equal(ours["no_pointer"], theirs["tracker.no_obj_ptr"])
    assert torch.equal(ours["decoder.matrix"], ours["prompts.matrix"])
    assert torch.equal(
        ours["prompts.labels"][2:3], theirs["tracker.sam_prompt_encoder.point_embeddings.2.weight"]
    )
    layer = "tracker.transformer.encoder.layers.1.cross_attn_image"
    key = theirs[f"{layer}.k_proj.weight"]
    assert torch.equal(ours["memory_attention.layers.1.read.key.weight"], torch.cat((key[::2], key[1::2])))
    assert torch.equal(ours["memory_attention.layers.1.read.value.weight"], theirs[f"{layer}.v_proj.weight"])


def test_official_without_tracker(recording: Recording, tmp_path: Path) -> None:
    """A file of the image model alone is one, whatever the config says of a tracker."""
    config = ModelConfig.from_json(recording.config | {"memory_layers": 2, "memory_dim": 16})
    file = official_file(recording, tmp_path)
    tensors = {k: v for k, v in torch.load(file)["model"].items() if "tracker." not in k and "sam2_" not in k}
    torch.save({"model": tensors}, file)
    assert not load(file, official=True, config=config).config.tracks
