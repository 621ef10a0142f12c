"""The tracker's graphs against `transformers`' modules, with the same random weights."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from tracker_pair import LAST, Pair, Remembered

from sam3_edge.export.model import fold
from sam3_edge.export.tracker import best
from sam3_edge.spec import MASKED, graph_specs

TOLERANCE = 1e-5  # of |ours - theirs| / |theirs|, Euclidean norms over the whole tensor
BANKS = ((1, 1), (3, 2), (7, 16), (10, 19))
THERE, GONE = 8.0, -8.0


@pytest.fixture(scope="module", autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("video"))


def distance(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


def mask_logits(pair: Pair, seed: int) -> Tensor:
    """Smooth mask logits [1, 1, 4G, 4G] with pixels inside and outside."""
    coarse = 6 * torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(pair.sides[0],) * 2, mode="bilinear")


def test_features(pair: Pair) -> None:
    fine, middle, coarse, queries = pair.run("tracker_features", pair.trunk)
    for ours, theirs in zip((fine, middle, coarse), pair.levels, strict=True):
        assert distance(ours, theirs) <= TOLERANCE
    specs = graph_specs(pair.ours.config)["tracker_features"].outputs
    assert [tuple(x.shape) for x in (fine, middle, coarse, queries)] == [t.shape for t in specs]


@pytest.mark.parametrize("counts", BANKS)
def test_memory_attention(pair: Pair, counts: tuple[int, int]) -> None:
    """A padded bank, in any order and with anything in empty slots, is the list of what there is."""
    pair.set_score(THERE)
    held = Remembered.random(pair.ours, counts, seed=sum(counts))
    theirs = pair.decoded(pair.attended(held), multimask=True)
    *levels, _, queries = pair.run("tracker_features", pair.trunk)
    mask, iou, score, pointer = pair.run("tracker_step", *levels, queries, *held.padded(pair.ours, 3))
    assert distance(mask, theirs.pred_masks[:, 0]) <= TOLERANCE
    assert distance(iou, theirs.iou_scores.amax(dim=(1, 2))) <= TOLERANCE
    assert distance(score, theirs.object_score_logits.flatten()) <= TOLERANCE
    assert distance(pointer, theirs.object_pointer[:, 0]) <= TOLERANCE
    bank = pair.ours.tracker.memory_attention
    assert int(bank.rows[-1]) == LAST


def test_absent(pair: Pair) -> None:
    """An object that is not there: all of its mask is -1024, and its pointer is the one for that."""
    pair.set_score(GONE)
    held = Remembered.random(pair.ours, (3, 2), seed=1)
    *levels, _, queries = pair.run("tracker_features", pair.trunk)
    mask, _, score, pointer = pair.run("tracker_step", *levels, queries, *held.padded(pair.ours, 3))
    assert score < 0 and bool((mask == -1024).all())
    assert torch.equal(pointer, pair.theirs.no_object_pointer.data)


def test_objects_are_apart(pair: Pair) -> None:
    """Three objects in one call are three calls."""
    pair.set_score(THERE)
    *levels, _, queries = pair.run("tracker_features", pair.trunk)
    held = [Remembered.random(pair.ours, counts, seed=9) for counts in BANKS[:3]]
    banks = [one.padded(pair.ours, i) for i, one in enumerate(held)]
    together = pair.run("tracker_step", *levels, queries, *(torch.cat(x) for x in zip(*banks, strict=True)))
    for i, bank in enumerate(banks):
        for many, one in zip(together, pair.run("tracker_step", *levels, queries, *bank), strict=True):
            assert distance(many[i : i + 1], one) <= TOLERANCE


def test_best() -> None:
    """What argmax chooses: the first of equals."""
    iou = torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.5, 0.5], [0.2, 0.7, 0.7], [0.4, 0.3, 0.4], [0.0, 0.1, 1.0]])
    assert torch.equal(best(iou), F.one_hot(iou.argmax(dim=1), 3).float())


def prompts(pair: Pair, kind: str) -> tuple[list[list[float]], list[int]]:
    """Points in pixels of the model's image, and labels, without the point that closes the list."""
    side = pair.ours.config.image_size
    clicks = [[0.3 * side, 0.4 * side], [0.71 * side, 0.2 * side], [side - 1.0, 0.0]]
    box = [[0.1 * side, 0.2 * side], [0.6 * side, 0.8 * side]]
    return {
        "one": (clicks[:1], [1]),
        "clicks": (clicks, [1, 0, 1]),
        "box": (box, [2, 3]),
        "both": (box + clicks, [2, 3, 0, 1, 1]),
    }[kind]


def refine_inputs(pair: Pair, kind: str, previous: Tensor | None) -> tuple[Tensor, ...]:
    """The prompts padded to their slots, with garbage in those that are hidden."""
    points, labels = prompts(pair, kind)
    count, used = pair.ours.config.points, len(points) + 1
    coords = torch.cat((torch.tensor([*points, [0.0, 0.0]]), 77 * torch.ones(count - used, 2)))
    kinds = torch.tensor([*labels, -1] + [1] * (count - used), dtype=torch.int32)
    bias = torch.tensor([0.0] * used + [MASKED] * (count - used))
    shown = mask_logits(pair, 8) if previous is None else previous
    return coords[None], kinds[None], bias[None], shown, torch.tensor([float(previous is not None)])


@pytest.mark.parametrize("kind", ["one", "clicks", "box", "both"])
@pytest.mark.parametrize("with_mask", [False, True])
def test_refine(pair: Pair, kind: str, with_mask: bool) -> None:
    pair.set_score(THERE)
    previous = mask_logits(pair, 4) if with_mask else None
    inputs = refine_inputs(pair, kind, previous)
    masks, iou, score, pointers = pair.run("tracker_refine", *pair.levels, *inputs)
    points, labels = prompts(pair, kind)
    asked = {"input_points": torch.tensor([[points]]), "input_labels": torch.tensor([[labels]])}
    if previous is not None:
        asked["input_masks"] = previous
    features = pair.levels[2] + pair.theirs.no_memory_embedding.reshape(1, -1, 1, 1)
    three = pair.decoded(features, multimask=True, **asked)
    chosen = int(iou[0, 1:].argmax()) + 1
    assert distance(masks[:, chosen], three.pred_masks[:, 0]) <= TOLERANCE
    assert distance(iou[:, 1:], three.iou_scores[:, 0]) <= TOLERANCE
    assert distance(score, three.object_score_logits.flatten()) <= TOLERANCE
    assert distance(pointers[:, chosen], three.object_pointer[:, 0]) <= TOLERANCE
    pair.theirs.mask_decoder.dynamic_multimask_via_stability = False
    one = pair.decoded(features, multimask=False, **asked)
    assert distance(masks[:, 0], one.pred_masks[:, 0]) <= TOLERANCE
    assert distance(iou[:, :1], one.iou_scores[:, 0]) <= TOLERANCE
    assert distance(pointers[:, 0], one.object_pointer[:, 0]) <= TOLERANCE


def test_refine_absent(pair: Pair) -> None:
    """Of an object that is not there: its pointers are the one for that; its masks the host empties."""
    inputs = refine_inputs(pair, "one", None)
    pair.set_score(THERE)
    there, *_ = pair.run("tracker_refine", *pair.levels, *inputs)
    pair.set_score(GONE)
    masks, _, score, pointers = pair.run("tracker_refine", *pair.levels, *inputs)
    assert score < 0 and torch.equal(masks, there)
    assert torch.equal(pointers[0], pair.theirs.no_object_pointer.data.expand(4, -1))


@pytest.mark.parametrize("score", [THERE, GONE])
@pytest.mark.parametrize("drawn", [True, False])
def test_init(pair: Pair, score: float, drawn: bool) -> None:
    """The pointer of a mask; of an empty one, or one the decoder sees nothing in, the no-object pointer.

    Theirs asks for three masks here, the official code for one, so the decoder is called by hand.
    """
    pair.set_score(score)
    mask = (F.interpolate(mask_logits(pair, 2), scale_factor=4.0, mode="bilinear") > 0).float() * float(drawn)
    pointer = pair.run("tracker_init", *pair.levels, mask)
    shrunk = pair.theirs.mask_downsample(mask)
    theirs = pair.decoded(pair.levels[2], multimask=False, input_masks=shrunk).object_pointer[:, 0]
    assert distance(pointer, theirs if drawn else pair.theirs.no_object_pointer.data) <= TOLERANCE


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("present", [False, True])
def test_memorize(pair: Pair, hard: bool, present: bool) -> None:
    """A hard mask follows the official code, which theirs makes binary elsewhere: theirs gets it made."""
    logits = mask_logits(pair, 6)
    ours = pair.run(
        "memorize", pair.levels[2], logits, torch.tensor([float(present)]), torch.tensor([float(hard)])
    )
    fine = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
    score = torch.tensor([[10.0 if present else -10.0]])
    size = pair.ours.config.image_size
    drawn = (F.interpolate(logits, size=(size, size), mode="bilinear") > 0).float()
    given = F.interpolate(drawn, size=fine.shape[-2:], mode="bilinear", antialias=True)
    shown = given if hard else fine.sigmoid()
    features, _ = pair.theirs.memory_encoder(pair.levels[2], shown * 20 - 10)
    features = (
        features
        + (score <= 0).float()[..., None, None]
        * (pair.theirs.occlusion_spatial_embedding_parameter[..., None, None])
    )
    assert distance(ours, features.flatten(2).transpose(1, 2)) <= TOLERANCE
    as_logits = torch.logit(given, eps=1e-9).clamp(-25, 25) if hard else fine
    rounded, _ = pair.theirs._encode_new_memory(pair.flat, as_logits, score, is_mask_from_pts=False)
    assert torch.allclose(ours.transpose(0, 1), rounded.float(), rtol=2**-7, atol=1e-5)


def test_fold(pair: Pair) -> None:
    """Folding weights changes no answer."""
    pair.set_score(THERE)
    folded = fold(deepcopy(pair.ours))
    before = pair.run("tracker_features", pair.trunk)
    after = folded.graph("tracker_features")(pair.trunk)
    bank = Remembered.random(pair.ours, (7, 16), seed=2).padded(pair.ours, 2)
    pairs = [*zip(after, before, strict=True)]
    step = (before[0], before[1], before[3], *bank)
    pairs += zip(folded.graph("tracker_step")(*step), pair.run("tracker_step", *step), strict=True)
    for ours, theirs in pairs:
        assert distance(ours, theirs) <= TOLERANCE
    read = folded.tracker.memory_attention.layer(0).read
    assert read.out.in_features == pair.ours.config.memory_dim
