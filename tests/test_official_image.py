"""The recording of the official image model: sound in itself, and shaped like our graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles.recording import FOLDER, STEP, Case, differences, load_recording
from oracles.seeded import GAINS, SHIFTS, seeded_weight
from PIL import Image

from sam3_edge.spec import ModelConfig, graph_specs

RECORDING = load_recording()
CONFIG = ModelConfig.from_json(RECORDING.config)
each_case = pytest.mark.parametrize("case", RECORDING.cases, ids=lambda case: case.name)


def score(case: Case) -> NDArray[np.float64]:
    """Every query's sigmoid(logit) * sigmoid(presence): [N]."""
    logits, presence = case.raw.logits[0].astype(np.float64), case.raw.presence[0].astype(np.float64)
    return np.asarray(1 / (1 + np.exp(-logits)) / (1 + np.exp(-presence)))


def spec_shape(graph: str, tensor: str) -> tuple[int, ...]:
    spec = graph_specs(CONFIG)[graph]
    return next(t.sized() for t in (*spec.inputs, *spec.outputs) if t.name == tensor)


@each_case
def test_shapes_are_those_of_our_graphs(case: Case) -> None:
    def thinned_shape(graph: str, tensor: str) -> tuple[int, ...]:
        *lead, height, width = spec_shape(graph, tensor)
        return (*lead, -(-height // STEP), -(-width // STEP))

    picture, raw = case.picture, case.raw
    assert picture.image.shape == spec_shape("backbone", "image")
    assert picture.trunk_feature.shape == spec_shape("backbone", "trunk_feature")
    assert picture.features_4x.shape == thinned_shape("detector_features", "features_4x")
    assert picture.features_2x.shape == thinned_shape("detector_features", "features_2x")
    assert picture.features_1x.shape == spec_shape("detector_features", "features_1x")
    assert case.token_ids.shape == spec_shape("text", "token_ids")
    assert raw.text_tokens.shape == spec_shape("text", "text_tokens")
    assert raw.exemplar_tokens.shape == (1, len(case.boxes) + 1, CONFIG.dim)
    assert raw.encoded.shape == spec_shape("detector", "encoded")
    assert raw.queries.shape == spec_shape("detector", "queries")
    assert raw.boxes.shape == (1, CONFIG.queries, 4)
    assert raw.logits.shape == spec_shape("detector", "logits")
    assert raw.presence.shape == spec_shape("detector", "presence")
    assert raw.masks.shape == thinned_shape("masks", "masks")
    assert raw.semantic.shape == thinned_shape("masks", "semantic")
    assert len(case.boxes) == len(case.labels) <= CONFIG.max_boxes


@each_case
def test_what_is_found_follows_from_the_raw_answers(case: Case) -> None:
    scores = score(case)
    kept = scores > 0.5
    # Nearer to the threshold, another order of summation could change what is found.
    assert np.abs(scores - 0.5).min() > 0.01
    np.testing.assert_allclose(case.found.scores, scores[kept], atol=1e-6)
    centre, size = case.raw.boxes[0][kept, :2], case.raw.boxes[0][kept, 2:]
    height, width = case.picture.pixels.shape[:2]
    corners = np.concatenate((centre - size / 2, centre + size / 2), axis=1) * [width, height, width, height]
    np.testing.assert_allclose(case.found.boxes, corners, atol=1e-4)
    assert case.found.masks.shape == (kept.sum(), height, width)


@each_case
def test_masks_have_an_inside_and_an_outside(case: Case) -> None:
    for mask in case.found.masks:
        assert 0.2 < mask.mean() < 0.9


def test_questions_cover_both_sides_of_the_threshold() -> None:
    found = {case.name: len(case.found.scores) for case in RECORDING.cases}
    assert found.pop("tall_nothing") == 0
    assert all(1 < count < CONFIG.queries for count in found.values()), found
    kinds = {(case.phrase is not None, *sorted(set(case.labels.tolist()))) for case in RECORDING.cases}
    assert kinds >= {
        (True,),
        (True, True),
        (True, False),
        (True, False, True),
        (False, True),
        (False, False, True),
    }


@each_case
def test_boxes_are_recorded_in_both_forms(case: Case) -> None:
    height, width = case.picture.pixels.shape[:2]
    centre, size = case.centred_boxes[:, :2], case.centred_boxes[:, 2:]
    corners = np.concatenate((centre - size / 2, centre + size / 2), axis=1) * [width, height, width, height]
    np.testing.assert_allclose(corners, case.boxes, atol=1e-4)


@each_case
def test_pictures_are_resized_and_normalised_like_pillow_does(case: Case) -> None:
    side = CONFIG.image_size
    resized = Image.fromarray(case.picture.pixels).resize((side, side), Image.Resampling.BILINEAR)
    levels = (case.picture.image[0].transpose(1, 2, 0) + 1) * 127.5
    apart = np.abs(levels - np.asarray(resized, np.float64))
    assert apart.max() < 1.001
    assert (apart > 0.001).mean() < 0.001


def test_the_checkpoint_is_rebuilt_from_names() -> None:
    weights = RECORDING.weights("detector.")
    assert sum(weight.size for weight in weights.values()) == 2_054_286
    assert {*GAINS, *SHIFTS} <= set(weights)  # a gain for a name that is not there would do nothing
    assert {name.split(".")[0] for name in RECORDING.shapes} == {"detector", "tracker"}
    assert all("freqs_cis" in name for name in RECORDING.constants)
    known = (
        "detector.backbone.vision_backbone.sam2_convs.0.dconv_2x2_0.weight",
        "detector.backbone.language_backbone.encoder.token_embedding.weight",
        "detector.geometry_encoder.points_pool_project.weight",
        "tracker.maskmem_tpos_enc",
    )
    assert all(name in RECORDING.shapes for name in known)


def test_a_weight_depends_on_seed_name_and_shape_alone() -> None:
    weight = seeded_weight(38, "some.weight", (2, 3))
    # As computed beside the official model: if this changes, the recording no longer belongs to the weights.
    recorded = [[0.7122010, 0.6268615, -0.8301300], [-0.05983631, 0.2126651, 0.1647309]]
    np.testing.assert_allclose(weight, recorded, rtol=1e-6)
    assert not np.allclose(weight, seeded_weight(38, "other.weight", (2, 3)))
    assert not np.allclose(weight, seeded_weight(39, "some.weight", (2, 3)))


def test_differences_are_seen() -> None:
    recorded: dict[str, NDArray[Any]] = {
        "floats": np.array([1.0, -4.0], np.float32),
        "bits": np.array([[0b1010]], np.uint8),
        "ids": np.array([3, 4], np.int32),
        "gone": np.zeros(1),
    }
    again: dict[str, NDArray[Any]] = {
        "floats": np.array([1.0, -4.4], np.float32),
        "bits": np.array([[0b0110]], np.uint8),
        "ids": np.array([3, 5], np.int32),
        "new": np.zeros(1),
    }
    apart = differences(recorded, again)
    allowed = {"floats": 0.1 / 1e-5, "bits": 2 / 8 / 1e-5}  # 0.4 of 4, and 2 bits of 8
    assert apart == {
        **{n: pytest.approx(x) for n, x in allowed.items()},
        "ids": np.inf,
        "gone": np.inf,
        "new": np.inf,
    }
    assert set(differences(recorded, recorded).values()) == {0.0}


def test_the_recordings_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.glob("image.*")) < 3_000_000
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 10_000_000
