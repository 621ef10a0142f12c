"""A SAM 3 checkpoint to a model: Hugging Face layout, official `sam3.pt`, or our own safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from sam3_edge.bundle import file_sha256
from sam3_edge.errors import CheckError, ResourceError, SourceError, UsageError
from sam3_edge.spec import ModelConfig

from . import names_huggingface, names_lite_text, names_official, weights_pt
from .checkpoint_merges import merges_of
from .config_json import read_config
from .fetch import HUB_ID, fetch
from .model import Sam3
from .student import Student
from .weights import Layout, Weights, fill, shards_of

# Metadata keys of our own files.
CONFIG, LICENCE, STUDENT = "sam3_edge_config", "sam3_edge_licence", "sam3_edge_student"
OURS = Layout()
PICKLES = (".pt", ".pth", ".bin")
# In file names and hub ids, and in the tensor names of its three-headed neck and its tracker.
SAM_3_1 = re.compile(r"sam-?3[._]1(?!\d)|multiplex|\.(interactive|propagation)_convs\.", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. `model` is in eval mode, float32, unfolded.

    `merges` is the tokenizer's file, if one was found or given; `revision` the hub's commit; `sha256` of the
    weight file (of the names and hashes, if they are several); `licence` is `SAM` or `Apache-2.0`, and
    `licence_file` the text of SAM's, if it stands beside the weights.
    """

    config: ModelConfig
    model: Sam3
    merges: Path | None
    name: str
    revision: str | None
    sha256: str
    licence: str
    licence_file: Path | None


def load(
    source: str | Path,
    *,
    official: bool = False,
    config: ModelConfig | None = None,
    image_size: int | None = None,
    memory_pool: int | None = None,
    tokenizer: Path | None = None,
    revision: str | None = None,
) -> Checkpoint:
    """Load a checkpoint: a folder, a `.safetensors` file, a hub id, or (`official`) a `sam3.pt`.

    `config` is for an official file with no `config.json` beside it, which is taken for SAM 3's own without;
    `image_size` in pixels and `memory_pool` replace the config's. Raises `SourceError` for what cannot be
    read, `CheckError` for what does not fit, `UsageError` for a pickle without `official`, `ResourceError`
    for a full disk.
    """
    refuse_sam_3_1(str(source) if not Path(source).exists() else Path(source).name, str(source))
    place = locate(source, revision=revision, official=official)
    files = weight_files(place, official=official)
    folder = files[0].parent
    with ExitStack() as stack:
        weights = Weights(stack, readable(files, stack))
        refuse_sam_3_1(next(filter(SAM_3_1.search, weights), ""), str(source))
        layout, found = describe(weights, folder, official=official, config=config)
        found = replace(found, image_size=image_size or found.image_size)
        found = replace(found, memory_pool=memory_pool or found.memory_pool)
        if official and not any(name.startswith(names_official.TRACKER) for name in weights):
            found = replace(found, memory_layers=0)
        model = Sam3(found, student_of(weights, str(source)))
        origin = origin_of(source, model.student)
        lite = layout is names_lite_text.LAYOUT
        tensors = names_lite_text.Folded(weights, found, origin=origin) if lite else weights
        fill(model, tensors, layout, origin=origin)
        licence = weights.metadata.get(LICENCE, "SAM" if layout is not OURS else "Apache-2.0")
    return Checkpoint(
        config=found,
        model=model.eval(),
        merges=merges_of(folder, tokenizer, official=official),
        name=str(source) if place != Path(source) else place.resolve().name,
        revision=place.name if place != Path(source) else None,
        sha256=digest(files),
        licence=licence,
        licence_file=sam_licence(folder),
    )


def save(model: Sam3, path: Path, *, half: bool = False, licence: str = "Apache-2.0") -> None:
    """Write a model in our own layout, with its config: float32, or float16 if `half`.

    The same model gives the same bytes. Weights that come from SAM 3 keep its licence: pass `SAM`. Raises
    `CheckError` for a folded model, `ResourceError` for a full disk; nothing half-written stays.
    """
    with torch.device("meta"):
        names = Sam3(model.config, model.student).state_dict().keys()
    if names != model.state_dict().keys():
        raise CheckError(f"{path}: a folded model cannot be saved; save it before lowering")
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: value.detach().cpu().to(dtype).contiguous() for name, value in model.state_dict().items()
    }
    metadata = {CONFIG: json.dumps(model.config.to_json(), sort_keys=True), LICENCE: licence}
    if model.student is not None:
        metadata[STUDENT] = json.dumps(model.student.to_json(), sort_keys=True)
    part = path.with_name(f".{path.name}.part")
    try:
        save_file(tensors, part, metadata)
        sort_header(part)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise (ResourceError if path.parent.is_dir() else UsageError)(
            f"{path}: cannot be written: {error}; free some space or write elsewhere"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def sort_header(path: Path) -> None:
    """safetensors writes its metadata in hash order, another one in each process: sort it, in place."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.dumps(json.loads(file.read(size)), sort_keys=True, separators=(",", ":")).encode()
        assert len(header) <= size, "the same entries in another order are not longer"
        file.seek(8)
        file.write(header.ljust(size))


def refuse_sam_3_1(name: str, origin: str) -> None:
    """SAM 3.1 has other weights and another tracker. Raises `CheckError` if `name` tells of it."""
    if SAM_3_1.search(name):
        raise CheckError(
            f"{origin}: this is SAM 3.1 ({name}), which sam3-edge cannot load; use facebook/sam3"
        )


def locate(source: str | Path, *, revision: str | None, official: bool) -> Path:
    """The folder or file behind a source, downloaded if it is a hub id. Raises `SourceError`."""
    path = Path(source)
    if path.exists():
        return path
    if isinstance(source, str) and HUB_ID.fullmatch(source) and path.suffix not in (".safetensors", *PICKLES):
        return fetch(source, revision=revision, official=official)
    raise SourceError(f"{source}: no such file or folder; give a checkpoint or a hub id like facebook/sam3")


def weight_files(place: Path, *, official: bool) -> list[Path]:
    """The files with the weights. Raises `SourceError` if there are none, `UsageError` for a pickle."""
    if place.is_file():
        files = [place]
    elif official:
        files = sorted(file for file in place.iterdir() if file.suffix in PICKLES)
    elif (index := place / "model.safetensors.index.json").exists():
        files = shards_of(index)
    else:
        files = sorted(place.glob("model.safetensors")) or sorted(place.glob("*.safetensors"))
        files = files or sorted(place.glob("*.pt"))
    for file in files:
        refuse_sam_3_1(file.name, str(place))
    if not files or (len(files) > 1 and not (place / "model.safetensors.index.json").exists()):
        kind = "a .pt file" if official else "model.safetensors"
        raise SourceError(f"{place}: want {kind} in it, found {', '.join(f.name for f in files) or 'none'}")
    if files[0].suffix in PICKLES and not official:
        raise UsageError(
            f"{files[0]}: a pickle; pass --official to read it as the official sam3.pt, in its own process"
        )
    return files


def readable(files: list[Path], stack: ExitStack) -> list[Path]:
    """The same weights as safetensors; a pickle is rewritten into a temporary file."""
    if files[0].suffix not in PICKLES:
        return files
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    weights_pt.convert(files[0], folder / "weights.safetensors")
    return [folder / "weights.safetensors"]


def describe(
    weights: Weights, folder: Path, *, official: bool, config: ModelConfig | None
) -> tuple[Layout, ModelConfig]:
    """Whose names the tensors have, and the model's numbers. Raises `SourceError` if no config is found."""
    if CONFIG in weights.metadata:
        return OURS, own_config(weights.metadata[CONFIG], folder)
    beside = folder / "config.json"
    if config is None and beside.exists():
        config = read_config(beside)
    if official:
        return names_official.LAYOUT, config or ModelConfig()
    if config is None:
        raise SourceError(f"{beside}: no such file; a checkpoint needs its config.json beside the weights")
    return names_lite_text.LAYOUT if config.text_taps else names_huggingface.LAYOUT, config


def own_config(text: str, folder: Path) -> ModelConfig:
    """The config in the metadata of our own file."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CheckError(
            f"{folder}: the config in the weights is no JSON ({error}); export it again"
        ) from error
    return ModelConfig.from_json(values)


def origin_of(source: str | Path, student: Student | None) -> str:
    """A checkpoint as errors name it, with the trunk that its tensors are held against."""
    return str(source) if student is None else f"{source}, with the trunk of student {student.name}"


def student_of(weights: Weights, origin: str) -> Student | None:
    """The student that a file of ours says its trunk is."""
    text = weights.metadata.get(STUDENT)
    return None if text is None else Student.from_json(text, origin=origin)


def sam_licence(folder: Path) -> Path | None:
    """The file with the SAM License's text, and not another licence that happens to lie there."""
    texts = {
        path: path.read_text(errors="replace") for path in sorted(folder.glob("LICENSE*")) if path.is_file()
    }
    return next((path for path, text in texts.items() if "SAM License" in text), None)


def digest(files: list[Path]) -> str:
    """sha256 of one file, or of the lines `hash  name` of several."""
    hashes = []
    for path in files:
        with path.open("rb") as file:
            hashes.append(file_sha256(file))
    lines = "".join(f"{value}  {path.name}\n" for value, path in zip(hashes, files, strict=True))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(lines.encode()).hexdigest()
