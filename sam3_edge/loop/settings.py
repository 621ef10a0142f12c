"""Every threshold of the video loop, by name. The defaults are the reference's, where not called ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sam3_edge.errors import CheckError, UsageError


@dataclass(frozen=True)
class Settings:
    """How a `Tracker` decides. Scores and IoUs are fractions, ages frames, areas pixels of a mask [4G, 4G].

    The reference's names stand behind each field: arguments of its video model (`model_builder`), constants
    of its session (`sam3_video_base`) or of its tracker (`sam3_tracker_base`). Raises `UsageError` for a
    value out of range.
    """

    # Detection and association.
    detect_every: int = 1  # ours: look for phrases on every n-th frame only; tracks are followed on all
    detection: float = 0.5  # score_threshold_detection: detections score above it
    nms: float = 0.1  # det_nms_thresh: of two detections that overlap more, the better stays
    match: float = 0.1  # assoc_iou_thresh: from this IoU on a detection is of a track, and not new
    cover: float = 0.5  # trk_assoc_iou_thresh: a track below it with every detection is unmatched
    birth: float = 0.7  # new_det_thresh: what a detection must score to be born beside other tracks
    # Reconditioning: a sure detection becomes a conditioning memory of its track.
    recondition_every: int = 16  # recondition_every_nth_frame; 0 for never
    sure_score: float = 0.8  # HIGH_CONF_THRESH of _associate_det_trk
    sure_iou: float = 0.8  # HIGH_IOU_THRESH
    sure_object: float = 0.8  # HIGH_CONF_THRESH of _recondition_masklets: against the object's *logit*
    # Hot-start: what is doubtful while young was never there.
    hot_start: int = 15  # hotstart_delay; 0 removes nothing
    hot_unmatched: int = 8  # hotstart_unmatch_thresh
    hot_duplicate: int = 8  # hotstart_dup_thresh
    keep_alive: int = 30  # init_trk_keep_alive
    most_alive: int = 30  # max_trk_keep_alive
    least_alive: int = -1  # min_trk_keep_alive
    hide_unmatched: bool = False  # not suppress_unmatched_only_within_hotstart
    tire_empty: bool = False  # decrease_trk_keep_alive_for_empty_masklets
    # Masks.
    speck: int = 16  # fill_hole_area: holes and sprinkles up to this area go; 0 keeps them
    occlusion: float = 0.7  # suppress_overlapping_based_on_recent_occlusion_threshold; 0 suppresses nothing
    shrink: float = 0.3  # shrink_threshold: who keeps less of its area among the others is forgotten
    # Memory. How many memories and pointers there are is the model's (`ModelConfig.memory_slots`).
    memory_score: float = 0.01  # mf_threshold: frames above it are remembered
    pointer_span: float = 15.0  # max_obj_ptrs_in_encoder - 1, as in clips of 16 frames and more
    # Prompts.
    stability: float = 0.98  # dynamic_multimask_stability_thresh
    stability_delta: float = 0.05  # dynamic_multimask_stability_delta
    correction_window: int = 16  # refinement_detector_cond_frame_removal_window
    # clear_non_cond_mem_around_input, num_maskmem: a correction makes what was tracked up to so many frames
    # before it forgotten. The reference says 7, and clears copies that nothing reads: 0 is what it does.
    mistaken_window: int = 0
    through_video: bool = (
        True  # a prompted mask goes through the video's size into memory (_use_mask_as_output)
    )
    carry_boxes: bool = (
        False  # ours: exemplar boxes speak for every frame, not for the one they were drawn on
    )
    # Bounds. Ours: the reference takes 10 000 objects, 13 MB of memories each.
    max_objects: int = 64  # max_num_objects: beyond it, the best new detections are taken, the others dropped
    batch: int = 4  # objects of one graph call; 0 for all at once

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES.get(field.name, (0, 1) if field.type == "float" else (0, 10**6))
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise UsageError(f"setting {field.name} is {value}: want {low} to {high}")
        if max(self.hot_unmatched, self.hot_duplicate) > self.hot_start > 0:
            raise UsageError(
                f"setting hot_start is {self.hot_start}: want at least hot_unmatched, {self.hot_unmatched}, "
                f"and hot_duplicate, {self.hot_duplicate}"
            )

    def looks(self, frames: int) -> int:
        """Of so many frames, on how many a phrase is looked for, rounded up."""
        return -(-frames // self.detect_every)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `to_json`. Raises `CheckError` for a field that there is not."""
        if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
            raise CheckError(f"settings: unknown field {unknown[0]!r}; a newer sam3-edge may have written it")
        return cls(**values)


RANGES: dict[str, tuple[float, float]] = {
    "detect_every": (1, 10**6),
    "sure_object": (-100, 100),
    "least_alive": (-(10**6), 10**6),
    "pointer_span": (1, 10**6),
    "stability_delta": (0, 100),
    "max_objects": (1, 10**6),
}
