"""Every module against `transformers`' own, with the same random weights carried over by the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_huggingface import SIDE, TEXT_LENGTH, VOCAB, saved, tiny_model
from torch import Tensor

from sam3_edge.benchmarks.peer_operators import roi_align
from sam3_edge.boxes import pooling_matrices
from sam3_edge.export.checkpoint import load
from sam3_edge.export.detector import to_corners
from sam3_edge.export.model import Sam3, fold, prompt_of
from sam3_edge.spec import MASKED

TOLERANCE = 1e-5  # of |ours - theirs| / |theirs|, Euclidean norms over the whole tensor
WORDS, SLOTS = 5, 4
UNUSED = -10  # transformers' label of a box that is padding
BOXES = torch.tensor([[[0.4, 0.3, 0.5, 0.35], [0.9, 0.8, 0.4, 0.6], [0.2, 0.7, 0.01, 0.02], [0.5] * 4]])
LABELS = torch.tensor([[1, 0, 1, 1]])


@pytest.fixture(scope="module", autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


def distance(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


def bias_of(valid: Tensor) -> Tensor:
    """Which tokens count, bool [1, S], as an additive bias."""
    return torch.zeros(valid.shape).masked_fill(~valid, MASKED)[:, None, None]


class Pair:
    """Our model and theirs with the same weights, a picture and a phrase, and what theirs makes of them."""

    def __init__(self, folder: Path, image_size: int = SIDE) -> None:
        generator = torch.Generator().manual_seed(5)
        self.theirs = tiny_model(image_size)
        self.ours: Sam3 = load(saved(self.theirs, folder)).model
        self.image = torch.randn(1, 3, image_size, image_size, generator=generator)
        self.ids = torch.randint(1, VOCAB, (1, TEXT_LENGTH), generator=generator)
        self.spoken = torch.arange(TEXT_LENGTH)[None] < WORDS
        self.vision = self.theirs.vision_encoder(self.image)
        self.levels = self.vision.fpn_hidden_states[:3]
        self.positions = self.vision.fpn_position_encoding[:3]
        self.text = self.theirs.get_text_features(self.ids, self.spoken.long()).pooler_output

    def exemplar(self, model: Sam3, count: int, boxes: Tensor = BOXES) -> tuple[Tensor, Tensor]:
        """Our exemplar tokens [1, K + 1, D] and which of them count, for the first `count` boxes."""
        grid = model.config.grid
        pools = (torch.from_numpy(pool)[None] for pool in pooling_matrices(boxes[0].numpy(), grid, 7))
        valid = torch.cat((torch.arange(SLOTS) < count, torch.tensor([True])))[None]
        return model.exemplar(self.levels[2], boxes, LABELS.float(), bias_of(valid), *pools), valid

    def their_exemplar(self, count: int) -> tuple[Tensor, Tensor]:
        """Their tokens, valid ones first and CLS behind them, and which of them count."""
        out = self.theirs.geometry_encoder(
            box_embeddings=BOXES,
            box_mask=torch.arange(SLOTS)[None] < count,
            box_labels=LABELS,
            img_feats=self.levels,
            img_pos_embeds=self.positions,
        )
        return out.last_hidden_state, out.attention_mask.bool()

    def prompt(self, count: int) -> tuple[Tensor, Tensor]:
        """The prompt, bool mask: the phrase, then their exemplar tokens."""
        tokens, valid = self.their_exemplar(count)
        return torch.cat((self.text, tokens), dim=1), torch.cat((self.spoken, valid), dim=1)

    def answer(self, model: Sam3, count: int) -> dict[str, Tensor]:
        """The whole path of a picture through our graphs."""
        levels = model.detector_features(model.backbone(self.image))
        exemplar, valid = self.exemplar(model, count)
        prompt, bias = prompt_of(model.text(self.ids), bias_of(self.spoken), exemplar, bias_of(valid))
        encoded, queries, boxes, logits, presence = model.detector(levels[2], prompt, bias)
        masks, semantic = model.masks(*levels[:2], encoded, prompt, bias, queries)
        return {
            "pred_boxes": boxes,
            "pred_logits": logits,
            "presence_logits": presence,
            "pred_masks": masks,
            "semantic_seg": semantic,
        }

    def their_answer(self, count: int) -> Any:
        labels = LABELS.where(torch.arange(SLOTS)[None] < count, torch.tensor(UNUSED))
        return self.theirs(
            pixel_values=self.image,
            input_ids=self.ids,
            attention_mask=self.spoken.long(),
            input_boxes=BOXES,
            input_boxes_labels=labels,
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, no_gradients: None) -> Pair:
    return Pair(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("image_size", [SIDE // 2, SIDE, SIDE * 3 // 2])
def test_backbone_and_features(image_size: int, tmp_path: Path) -> None:
    """One window, four and nine: positions are tiled, rotary positions of global layers stretched."""
    pair = Pair(tmp_path, image_size)
    trunk = pair.ours.backbone(pair.image)
    assert distance(trunk, pair.vision.last_hidden_state) <= TOLERANCE
    for ours, theirs in zip(pair.ours.detector_features(trunk), pair.levels, strict=True):
        assert distance(ours, theirs) <= TOLERANCE


def test_image_size_can_be_changed(pair: Pair, tmp_path: Path) -> None:
    """The same weights at another resolution, as `transformers` runs them with another config."""
    larger = Pair(tmp_path, SIDE * 3 // 2)
    ours = load(saved(pair.theirs, tmp_path / "small"), image_size=SIDE * 3 // 2).model
    assert distance(ours.backbone(larger.image), larger.vision.last_hidden_state) <= TOLERANCE


def test_text(pair: Pair) -> None:
    """Spoken tokens only: what stands in the padding is hidden by the prompt's bias."""
    assert distance(pair.ours.text(pair.ids)[pair.spoken], pair.text[pair.spoken]) <= TOLERANCE


@pytest.mark.parametrize("count", range(SLOTS + 1))
def test_exemplar(pair: Pair, count: int) -> None:
    """With 4 to 0 boxes unused; 0 boxes leave the CLS token, which depends on the picture alone."""
    tokens, valid = pair.exemplar(pair.ours, count)
    theirs, their_valid = pair.their_exemplar(count)
    assert valid.sum() == their_valid.sum() == count + 1
    assert distance(tokens[valid], theirs[their_valid]) <= TOLERANCE


def test_unused_boxes_do_not_count(pair: Pair) -> None:
    """Whatever stands in the slot of an unused box, the tokens of the others stay."""
    other = BOXES.clone()
    other[:, 2:] = torch.tensor([0.1, 0.1, 0.9, 0.9])
    tokens, valid = pair.exemplar(pair.ours, 2)
    assert torch.equal(tokens[valid], pair.exemplar(pair.ours, 2, other)[0][valid])


def test_box_pooling(pair: Pair) -> None:
    """RoIAlign as two matrix products equals its definition: inside, over the border, outside, degenerate."""
    boxes = torch.tensor(
        [[*BOXES[0].tolist(), [1.4, -0.3, 0.2, 0.2], [0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 3.0, 1.0]]]
    )
    exemplar, features = pair.ours.exemplar, pair.levels[2]
    pools = (
        torch.from_numpy(pool)[None] for pool in pooling_matrices(boxes[0].numpy(), features.shape[-1], 7)
    )
    normed = exemplar.pool_norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    cut = roi_align(normed, to_corners(boxes) * features.shape[-1], 7)
    assert distance(exemplar.pooled(features, *pools)[0], exemplar.pool(cut).flatten(1)) <= TOLERANCE


@pytest.mark.parametrize("count", [0, 2])
def test_detector(pair: Pair, count: int) -> None:
    """Encoder state, and the last layer's queries, boxes, logits and presence."""
    prompt, valid = pair.prompt(count)
    encoder = pair.theirs.detr_encoder(
        vision_features=[pair.levels[2]],
        text_features=prompt,
        vision_pos_embeds=[pair.positions[2]],
        text_mask=valid,
    )
    decoder = pair.theirs.detr_decoder(
        vision_features=encoder.last_hidden_state,
        text_features=prompt,
        vision_pos_encoding=encoder.pos_embeds_flattened,
        text_mask=valid,
        spatial_shapes=encoder.spatial_shapes,
    )
    encoded, queries, _, _, presence = pair.ours.detector(pair.levels[2], prompt, bias_of(valid))
    assert distance(encoded, encoder.last_hidden_state) <= TOLERANCE
    assert distance(queries, decoder.intermediate_hidden_states[-1]) <= TOLERANCE
    assert distance(presence, decoder.presence_logits[-1]) <= TOLERANCE
    steps = pair.ours.detector.decode(encoded, prompt, bias_of(valid))
    for (ours, _, _), theirs in zip(steps, decoder.intermediate_hidden_states, strict=True):
        assert distance(ours, theirs) <= TOLERANCE


def test_masks(pair: Pair) -> None:
    prompt, valid = pair.prompt(1)
    queries, encoded = torch.randn(1, 3, 64), torch.randn(1, pair.levels[2].shape[-1] ** 2, 64)
    theirs = pair.theirs.mask_decoder(
        decoder_queries=queries,
        backbone_features=list(pair.levels),
        encoder_hidden_states=encoded,
        prompt_features=prompt,
        prompt_mask=valid,
    )
    masks, semantic = pair.ours.masks(*pair.levels[:2], encoded, prompt, bias_of(valid), queries)
    assert distance(masks, theirs.pred_masks) <= TOLERANCE
    assert distance(semantic, theirs.semantic_seg) <= TOLERANCE


@pytest.mark.parametrize("count", [0, 1, 3])
def test_whole_model(pair: Pair, count: int) -> None:
    """Picture, phrase and boxes to detections; without boxes an unused one makes theirs add the CLS token."""
    ours, theirs = pair.answer(pair.ours, count), pair.their_answer(count)
    for name, value in ours.items():
        assert distance(value, getattr(theirs, name)) <= TOLERANCE, name
    scores, their_scores = (
        x["pred_logits"].sigmoid() * x["presence_logits"].sigmoid() for x in (ours, theirs)
    )
    assert torch.equal(scores > 0.5, their_scores > 0.5)
    assert 0 < (scores > 0.5).sum() < scores.numel()
    inside = (ours["pred_masks"] > 0).float().mean()
    assert 0.05 < inside < 0.95


def test_cls_token_counts(pair: Pair) -> None:
    """Without a box theirs leaves the CLS token out, ours never: the difference is not noise."""
    bare = pair.theirs(pixel_values=pair.image, input_ids=pair.ids, attention_mask=pair.spoken.long())
    assert distance(pair.answer(pair.ours, 0)["pred_logits"], bare.pred_logits) > 1e-3


def test_folding_changes_nothing(pair: Pair, tmp_path: Path) -> None:
    """An up-sampling and the 1x1 after it, merged; each up-sampling level has one fewer convolution."""
    folded = fold(load(saved(pair.theirs, tmp_path)).model)
    convolutions = [sum(1 for _ in model.parameters()) for model in (folded, pair.ours)]
    assert convolutions[0] == convolutions[1] - 4
    for name, value in pair.answer(folded, 2).items():
        assert distance(value, pair.answer(pair.ours, 2)[name]) <= TOLERANCE, name


def test_prompt_order_does_not_matter(pair: Pair) -> None:
    prompt, valid = pair.prompt(2)
    order = torch.randperm(prompt.shape[1], generator=torch.Generator().manual_seed(0))
    straight = pair.ours.detector(pair.levels[2], prompt, bias_of(valid))
    shuffled = pair.ours.detector(pair.levels[2], prompt[:, order], bias_of(valid[:, order]))
    for ours, theirs in zip(shuffled, straight, strict=True):
        assert distance(ours, theirs) <= TOLERANCE
