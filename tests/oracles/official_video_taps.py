"""Hands a script to the official session, and notes what its loop decides on every frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sam3.model import sam3_image, sam3_tracker_base, sam3_video_base
from torch import Tensor

from .official_video_model import wrap
from .official_video_script import MIX, PROMPTED_SCORE, Script
from .video_recording import glimpsed, projected

Call = Callable[..., Any]
Row = dict[str, Any]


class Listener:
    """Listens to one model for all clips; `begin` empties it for the next."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.begin(None)
        tracker = model.tracker
        for owner, name, around in (
            (model, "_det_track_one_frame", self.frame),
            (model.detector, "forward_grounding", self.detect),
            (sam3_image, "nms_masks", self.thin_out),
            (model, "_propogate_tracker_one_frame_local_gpu", self.propagate),
            (tracker, "_run_single_frame_inference", self.infer),
            (tracker, "_prepare_memory_conditioned_features", self.remember),
            (sam3_tracker_base, "select_closest_cond_frames", self.choose_conditioning),
            (tracker, "frame_filter", self.choose_recent),
            (sam3_video_base, "fill_holes_in_mask_scores", self.fill),
            (model, "_associate_det_trk", self.associate),
            (tracker, "add_new_mask", self.prompt),
            (model, "_get_objects_to_suppress_based_on_most_recently_occluded", self.suppress),
            (tracker, "_suppress_object_pw_area_shrinkage", self.shrink),
            (model, "_tracker_update_memories", self.memorize),
            (model, "run_tracker_update_planning_phase", self.plan),
            (model, "_tracker_add_new_objects", self.bear),
        ):
            wrap(owner, name, around)
        tracker.sam_mask_decoder.register_forward_hook(self.decode)

    def begin(self, script: Script | None) -> None:
        self.script = script
        self.actors: list[int] = []  # by object id
        self.frames: list[Row] = []
        self.seen: dict[int, Row] = {}  # detections by frame: they are made one frame ahead
        self.ahead = 0
        self.object: int | None = None
        self.chosen: Row = {}

    @property
    def now(self) -> Row:
        return self.frames[-1]

    # ---- the two seams -----------------------------------------------------------------------------------

    def detect(self, call: Call, *args: Any, find_input: Any, **named: Any) -> Any:
        out = call(*args, find_input=find_input, **named)
        self.ahead = int(find_input.img_ids[0])
        if self.script is not None:
            scores = torch.from_numpy(self.script.detected_scores[self.ahead])
            logits = torch.where(scores > 0, torch.logit(scores, eps=1e-4), torch.tensor(-10.0))
            out["pred_logits"] = logits[None, :, None].clone()
            offset = torch.from_numpy(self.script.detected_masks[self.ahead])
            out["pred_masks"] = float(MIX) * out["pred_masks"] + offset
        return out

    def decode(self, _module: Any, _inputs: Any, output: Any) -> Any:
        masks, iou, tokens, score = output
        if self.script is None:
            return output
        if self.object is None:
            return masks, iou, tokens, float(MIX) * score + float(PROMPTED_SCORE)
        actor, t = self.actors[self.object], self.now["t"]
        offset = torch.from_numpy(self.script.tracked_masks[t, actor])
        return (
            float(MIX) * masks + offset,
            iou,
            tokens,
            float(MIX) * score + float(self.script.tracked_scores[t, actor]),
        )

    # ---- what happens, in this order ---------------------------------------------------------------------

    def frame(self, call: Call, **named: Any) -> Any:
        none: Row = {
            "births": [],
            "prompted": [],
            "memories": [],
            "fillings": [],
            "suppressed": [],
            "shrunk": [],
        }
        self.frames.append({"t": named["frame_idx"], "rows": {}, **none})
        out = call(**named)
        self.now["detections"] = self.seen.pop(self.now["t"])
        return out

    def thin_out(self, call: Call, *, pred_probs: Tensor, pred_masks: Tensor, **named: Any) -> Any:
        keep = call(pred_probs=pred_probs, pred_masks=pred_masks, **named)
        valid = (pred_probs > named["prob_threshold"]).nonzero()[:, 0]
        self.seen[self.ahead] = {
            "query": valid.numpy().astype(np.int8),
            "score": pred_probs[valid].numpy(),
            "kept": keep[valid].numpy(),
            "masks": projected(pred_masks[valid].numpy()),
        }
        return keep

    def propagate(self, call: Call, states: Any, **named: Any) -> Any:
        ids, masks, scores = call(states, **named)
        self.now["ids"], self.now["scores"] = list(map(int, ids)), scores.numpy().copy()
        return ids, masks, scores

    def infer(self, call: Call, *, inference_state: Any, **named: Any) -> Any:
        prompted = named["mask_inputs"] is not None or named["point_inputs"] is not None
        self.object = None if prompted else int(inference_state["obj_ids"][0])
        return call(inference_state=inference_state, **named)

    def remember(self, call: Call, *args: Any, **named: Any) -> Any:
        out = call(*args, **named)
        valid, stored = self.chosen["valid"], named["output_dict"]["non_cond_frame_outputs"]
        left = self.chosen["unselected"]
        ranked = [
            valid[-r] if valid[-r] in stored or valid[-r] in left else -1 for r in range(1, len(valid) + 1)
        ]
        row = {
            "conditioning": padded(sorted(self.chosen["selected"]), 4),
            "recent": padded(ranked[:6], 6),
            "pointers": padded(ranked[: min(15, len(valid) - 1)], 15),
        }
        self.now["memories"].append(row)
        return out

    def choose_conditioning(self, call: Call, *args: Any, **named: Any) -> Any:
        selected, unselected = call(*args, **named)
        self.chosen.update(selected=list(selected), unselected=list(unselected))
        return selected, unselected

    def choose_recent(self, call: Call, *args: Any) -> Any:
        self.chosen["valid"] = list(call(*args))
        return list(self.chosen["valid"])

    def fill(self, call: Call, masks: Tensor, **named: Any) -> Any:
        out = call(masks, **named)
        changed = [((a > 0) & (b <= 0)).sum((1, 2, 3)).numpy() for a, b in ((out, masks), (masks, out))]
        self.now["fillings"].append(changed)
        return out

    def associate(self, call: Call, **named: Any) -> Any:
        out = call(**named)
        new, unmatched, matched, strong, empty = out
        ids, masks = self.now["ids"], named["trk_masks"].numpy()
        matches = [sum(1 << d for d, who in matched.items() if i in who) for i in ids]
        self.now["rows"].update(
            positive=np.packbits(masks > 0, axis=-1),
            logits=glimpsed(masks, self.now["t"]),
            matches=np.array(matches, np.uint16),
            unmatched=np.isin(ids, unmatched),
            empty=np.isin(ids, empty),
            strong=np.array([strong.get(i, -1) for i in ids], np.int8),
        )
        self.now["new"] = [int(d) for d in new]
        return out

    def prompt(self, call: Call, *, obj_id: int, add_mask_to_memory: bool = False, **named: Any) -> Any:
        if not add_mask_to_memory:
            self.now["prompted"].append(int(obj_id))
        return call(obj_id=obj_id, add_mask_to_memory=add_mask_to_memory, **named)

    def suppress(self, call: Call, *args: Any, **named: Any) -> Any:
        out = call(*args, **named)
        self.now["suppressed"] = out.numpy().copy()
        return out

    def shrink(self, call: Call, masks: Tensor) -> Any:
        out = call(masks)
        self.now["shrunk"] = ((masks > 0).any(-1).any(-1) & ~(out > 0).any(-1).any(-1))[:, 0].numpy()
        return out

    def memorize(self, call: Call, states: Any, frame_idx: int, **named: Any) -> Any:
        out = call(states, frame_idx, **named)
        kept = [kept_of(state, frame_idx) for state in states]
        self.now["rows"].update(
            quality=np.array([float(k.get("eff_iou_score", -1.0)) for k in kept], np.float32),
            pointer=projected(torch.cat([k["obj_ptr"] for k in kept]).numpy()),
            memory=projected(torch.cat([k["maskmem_features"] for k in kept]).numpy()),
        )
        return out

    def plan(self, call: Call, **named: Any) -> Any:
        out, meta = call(**named)
        ids, own = self.now["ids"], meta["rank0_metadata"]
        why = {
            i: 1 if len(own["unmatched_frame_inds"][i]) >= 8 else 2
            for i in map(int, out["obj_ids_newly_removed"])
        }
        occluded = meta["obj_id_to_last_occluded"]
        self.now["rows"].update(
            id=np.array(ids, np.int16),
            score=self.now["scores"],
            removed=np.array([why.get(i, 0) for i in ids], np.int8),
            keep_alive=np.array([own["trk_keep_alive"][i] for i in ids], np.int8),
            last_occluded=np.array([int(occluded.get(i, -1)) for i in ids], np.int16),
        )
        return out, meta

    def bear(self, call: Call, *, frame_idx: int, new_obj_ids: Any, **named: Any) -> Any:
        states = call(frame_idx=frame_idx, new_obj_ids=new_obj_ids, **named)
        kept = self.seen[frame_idx]["query"][self.seen[frame_idx]["kept"]]
        for i, detection, state in zip(
            new_obj_ids, self.now["new"], states[-len(new_obj_ids) :], strict=True
        ):
            query, out = int(kept[detection]), kept_of(state, frame_idx)
            self.actors.append(self.script.actor(query) if self.script else -1)
            pointer, memory = (projected(out[key].numpy())[0] for key in ("obj_ptr", "maskmem_features"))
            born = {
                "id": int(i),
                "detection": detection,
                "query": query,
                "pointer": pointer,
                "memory": memory,
            }
            self.now["births"].append(born)
        return states


def kept_of(state: Any, frame: int) -> Any:
    """What a state stored for a frame."""
    outputs = state["output_dict"]
    return outputs["cond_frame_outputs"].get(frame) or outputs["non_cond_frame_outputs"][frame]


def padded(frames: list[int], length: int) -> list[int]:
    """A list of frames of fixed length: -1 where there is none."""
    return frames + [-1] * (length - len(frames))
