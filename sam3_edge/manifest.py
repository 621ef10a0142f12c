"""`bundle.json`: what a bundle says about itself. Read strictly, written the same way every time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.spec import ModelConfig, graph_specs

SCHEMA = 1
MANIFEST = "bundle.json"
SEAL = "bundle.sha256"
# Bounds what a hostile bundle can make the reader parse. A SAM 3 bundle has about 20 kB.
MAX_BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")
# One part of a file name. Not ending in a dot forbids `.` and `..`; no colon and no backslash forbids other
# systems' absolute names; ASCII alone leaves no two spellings of one letter.
PART = re.compile(r"[A-Za-z0-9_.+-]*[A-Za-z0-9_+-]")

Json = dict[str, Any]
Kind = type | tuple[type, ...]
FIELDS: dict[str, Kind] = {
    "schema_version": int,
    "source": dict,
    "config": dict,
    "spec": dict,
    "target": str,
    "scheme": str,
    "graphs": dict,
    "files": list,
    "tools": dict,
    "report": dict,
    "licence": str,
}
OPTIONAL_STR = (str, type(None))


@dataclass(frozen=True)
class Source:
    """Where the weights come from: a repository or file name, its revision, the sha256 of the checkpoint."""

    name: str
    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class GraphFile:
    """Where a graph lies in the bundle: `graphs/<folder>/...`, and which function of that file it is."""

    path: str
    function: str | None = None

    @property
    def folder(self) -> str:
        """`graphs/<folder>/`: every file under it belongs to the graph (external data, a Core ML package)."""
        return "/".join(self.path.split("/")[:2]) + "/"


@dataclass(frozen=True)
class FileRecord:
    """One file of a bundle: relative path, size in bytes, sha256 in lower-case hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `bundle.json`. `report` is free JSON, without NaN; `files` is filled in by `seal`."""

    source: Source
    config: ModelConfig
    target: str
    scheme: str
    graphs: Mapping[str, GraphFile]
    tools: Mapping[str, str]
    report: Mapping[str, Any]
    licence: str
    files: tuple[FileRecord, ...] = ()

    def to_bytes(self) -> bytes:
        """The bytes of `bundle.json`: sorted, no dates, so that the same content is the same file."""
        values = {name: getattr(self, name) for name in FIELDS if name not in ("schema_version", "spec")}
        values |= {
            "schema_version": SCHEMA,
            "source": asdict(self.source),
            "config": self.config.to_json(),
            "spec": _spec(self.config),
            "graphs": {name: asdict(graph) for name, graph in self.graphs.items()},
            "files": [asdict(file) for file in sorted(self.files, key=lambda file: file.path)],
            "tools": dict(self.tools),
            "report": dict(self.report),
        }
        try:
            text = json.dumps(values, indent=2, sort_keys=True, allow_nan=False)
        except ValueError as error:
            raise CheckError(
                f"{MANIFEST}: the report holds no plain JSON ({error}); leave that value out"
            ) from error
        return text.encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Read `bundle.json`. Raises `CheckError` for anything that `to_bytes` would not have written."""
    values = _parse(data)
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA:
        raise CheckError(
            f"{MANIFEST}: schema {version} was written by a newer sam3-edge (this one reads up to {SCHEMA}): "
            "upgrade sam3-edge"
        )
    _want(values, FIELDS, MANIFEST)
    if version != SCHEMA:
        raise _wrong(f"{MANIFEST}: schema {version} never existed")
    files = tuple(_file(file) for file in values["files"])
    _check_names([file.path for file in files])
    config = _config(values["config"], values["spec"])
    graphs = {name: _graph(name, graph) for name, graph in values["graphs"].items()}
    _check_graphs(graphs, files=files, spec=values["spec"])
    _want(values["tools"], dict.fromkeys(values["tools"], str), "tools")
    return Manifest(
        source=_source(values["source"]),
        config=config,
        graphs=graphs,
        files=files,
        **{name: values[name] for name in ("target", "scheme", "tools", "report", "licence")},
    )


def _wrong(fact: str) -> CheckError:
    return CheckError(f"{fact}; export the bundle again")


def _parse(data: bytes) -> Json:
    if len(data) > MAX_BYTES:
        raise CheckError(f"{MANIFEST}: over {MAX_BYTES} bytes; move what is long to report.json")
    try:
        values = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # a megabyte of `[` is 1000 times deeper than the stack
        raise _wrong(f"{MANIFEST}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise _wrong(f"{MANIFEST}: want an object")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise _wrong(f"{MANIFEST}: key {twin!r} occurs twice, so readers may disagree")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _want(values: Any, kinds: Mapping[str, Kind], where: str) -> None:
    """Exactly these fields, each of its kind."""
    if not isinstance(values, dict):
        raise _wrong(f"{where}: want an object, got {values!r:.60}")
    for name in sorted(set(values) ^ set(kinds)):
        fact = "is missing" if name in kinds else "is unknown"
        raise _wrong(f"{where}: field {name!r:.60} {fact}")
    for name, kind in kinds.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise _wrong(f"{where}: {name} is {values[name]!r:.60}, of the wrong kind")


def _source(values: Any) -> Source:
    _want(values, {"name": str, "revision": OPTIONAL_STR, "sha256": OPTIONAL_STR}, "source")
    source = Source(**values)
    if source.sha256 is not None and not SHA256.fullmatch(source.sha256):
        raise _wrong(f"source: {source.sha256!r:.60} is not a sha256 in hex")
    return source


def _file(values: Any) -> FileRecord:
    _want(values, {"path": str, "bytes": int, "sha256": str}, "files")
    if values["bytes"] < 0 or not SHA256.fullmatch(values["sha256"]):
        raise _wrong(f"files: {values['path']!r} has no valid size and sha256")
    return FileRecord(**values)


def _check_names(paths: Iterable[str]) -> None:
    """Safe on every system: relative, inside the bundle, and no two that a case-blind disk takes for one."""
    spelled = {MANIFEST: "", SEAL: ""}
    seen = set()
    for path in paths:
        parts = path.split("/")
        if not all(PART.fullmatch(part) for part in parts):
            raise _wrong(f"files: name {path!r:.100} is not safe (want letters, digits, '._+-', single '/')")
        # Folders too: `A/x` and `a/y` are one folder on macOS.
        for prefix in ("/".join(parts[:end]) for end in range(1, len(parts) + 1)):
            if spelled.setdefault(prefix.casefold(), prefix) != prefix or path in seen:
                raise _wrong(f"files: {path!r:.100} clashes with another name")
        seen.add(path)


def _spec(config: ModelConfig) -> Json:
    specs = {name: asdict(spec) for name, spec in graph_specs(config).items()}
    plain: Json = json.loads(json.dumps(specs))
    return plain


def _config(values: Json, spec: Json) -> ModelConfig:
    """The config, after checking that the graph specs written beside it follow from it."""
    flat = [number for value in values.values() for number in (value if isinstance(value, list) else [value])]
    # Bounds the arithmetic of a hostile config; every number of a SAM 3 model is far below.
    if any(isinstance(number, int) and abs(number) >= 1 << 20 for number in flat):
        raise _wrong("config: a number is over 2**20")
    try:
        config = ModelConfig.from_json(values)
    except (UsageError, ZeroDivisionError) as error:
        raise _wrong(f"config: {error}") from error
    known = _spec(config)
    for name, graph in spec.items():
        # Graphs that this version knows and the bundle does not are fine: old bundles stay readable.
        if name not in known:
            raise CheckError(f"spec: graph {name!r:.60} is unknown to this sam3-edge: upgrade sam3-edge")
        if graph != known[name]:
            raise _wrong(f"spec: the shapes of {name} do not follow from the config")
    return config


def _graph(name: str, values: Any) -> GraphFile:
    _want(values, {"path": str, "function": OPTIONAL_STR}, f"graphs: {name!r:.60}")
    return GraphFile(**values)


def _check_graphs(graphs: Mapping[str, GraphFile], *, files: Iterable[FileRecord], spec: Json) -> None:
    paths = [file.path for file in files]
    for name, graph in graphs.items():
        if name not in spec:
            raise _wrong(f"graphs: {name!r:.60} has no spec")
        if not re.fullmatch(r"graphs/[^/]+/.*[^/]", graph.path):
            raise _wrong(f"graphs: {name} lies at {graph.path!r:.100}, want graphs/<folder>/...")
        if not any(path == graph.path or path.startswith(f"{graph.path}/") for path in paths):
            raise _wrong(f"graphs: {name} lies at {graph.path!r:.100}, which is not a listed file")
