"""The tiny official video session on a CPU: Meta's classes around the tiny detector and tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sam3.model import sam3_image, sam3_video_inference
from sam3.model.model_misc import TransformerWrapper
from sam3.model.vl_combiner import SAM3VLBackbone
from sam3.perflib import connected_components

from .official_environment import OnCpu
from .official_model import Sizes, box_decoder, fusion, geometry, mask_head, scorer, text, vision
from .official_tracker import TINY, TrackerSizes, build_tracker

# What Meta's builder gives the session (model_builder.build_sam3_video_model, its default arguments).
SETTINGS: dict[str, Any] = {
    "score_threshold_detection": 0.5,
    "assoc_iou_thresh": 0.1,
    "det_nms_thresh": 0.1,
    "new_det_thresh": 0.7,
    "hotstart_delay": 15,
    "hotstart_unmatch_thresh": 8,
    "hotstart_dup_thresh": 8,
    "suppress_unmatched_only_within_hotstart": True,
    "min_trk_keep_alive": -1,
    "max_trk_keep_alive": 30,
    "init_trk_keep_alive": 30,
    "suppress_overlapping_based_on_recent_occlusion_threshold": 0.7,
    "suppress_det_close_to_boundary": False,
    "fill_hole_area": 16,
    "recondition_every_nth_frame": 16,
    "masklet_confirmation_enable": False,
    "decrease_trk_keep_alive_for_empty_masklets": False,
}
# The rest of the tracker's numbers: Meta's.
TRACKER = {**asdict(TINY), "memory_times": 7, "memory_slots": 10, "pointer_slots": 19}


class InSession(OnCpu):
    """Also sends `.cuda()` and `.to("cuda")` to the CPU, and keeps fp32 where the session casts to bfloat16.

    On a GPU the session runs under autocast; here bfloat16 features would meet fp32 weights and fail. What is
    stored is rounded all the same: see `round_memories`.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.to:
            wanted = (*args[1:], *(kwargs or {}).values())
            if torch.bfloat16 in [w for w in wanted if isinstance(w, torch.dtype)]:
                return args[0]
            args = (args[0], *("cpu" if str(a).startswith("cuda") else a for a in args[1:]))
        return super().__torch_function__(func, types, args, kwargs)


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace `owner.name` by a function that gets the original first."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **named: around(original, *args, **named))


def build_video(s: Sizes, t: TrackerSizes = TINY) -> Any:
    """Meta's session class with its own loop, made to run here by the functions below."""
    detector = sam3_image.Sam3ImageOnVideoMultiGPU(
        backbone=SAM3VLBackbone(scalp=1, visual=vision(s), text=text(s)),
        transformer=TransformerWrapper(encoder=fusion(s), decoder=box_decoder(s), d_model=s.dim),
        input_geometry_encoder=geometry(s),
        segmentation_head=mask_head(s),
        num_feature_levels=1,
        o2m_mask_predict=True,
        dot_prod_scoring=scorer(s),
        use_instance_query=False,
        multimask_output=True,
        supervise_joint_box_scores=True,
    )
    model = sam3_video_inference.Sam3VideoInferenceWithInstanceInteractivity(
        detector=detector,
        tracker=build_tracker(s, t),
        image_size=s.image_size,
        compile_model=False,
        **SETTINGS,
    ).eval()
    accept_empty_batches()
    round_memories(model.tracker)
    one_object_per_state(model)
    return model


def pour(model: Any, weights: Mapping[str, NDArray[np.float32]], *, all_of_them: bool) -> None:
    """Weights by official name into the model, in place. `all_of_them`: the model has no other."""
    state = {name: w for name, w in model.state_dict().items() if w.is_floating_point()}
    strange = {n for n, w in weights.items() if n not in state or tuple(state[n].shape) != w.shape}
    if strange or (all_of_them and len(state) != len(weights)):
        raise ValueError(f"video model: other names or shapes than the weights: {sorted(strange)[:3]}")
    for name, weight in weights.items():
        state[name].copy_(torch.from_numpy(weight))


def accept_empty_batches() -> None:
    """The CPU labelling of components stacks a list: it fails on a frame without births."""
    label = connected_components.connected_components_cpu
    connected_components.connected_components = lambda mask: (
        label(mask) if len(mask) else (mask.long(), mask.long())
    )


def round_memories(tracker: Any) -> None:
    """Memories lose what bfloat16 loses, as in the session; nothing else does."""

    def encode(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        features, positions = call(*args, **named)
        return features.bfloat16().float(), positions

    wrap(tracker, "_run_memory_encoder", encode)


def one_object_per_state(model: Any) -> None:
    """Calls `_tracker_add_new_objects` once for each born object, so that each has a state of its own.

    The official call puts the objects born on one frame into one state, which couples them: they share the
    score that selects memories (a mean), are reconditioned together, and their birth masks are made
    exclusive. With a state each, nothing is shared; order, ids and the rest of the loop are untouched.
    """

    def add(call: Callable[..., Any], **named: Any) -> Any:
        ids, masks, states = (named.pop(k) for k in ("new_obj_ids", "new_obj_masks", "tracker_states_local"))
        for i in range(len(ids)):
            one = {"new_obj_ids": ids[i : i + 1], "new_obj_masks": masks[i : i + 1]}
            states = call(**one, tracker_states_local=states, **named)
        return states

    wrap(model, "_tracker_add_new_objects", add)
