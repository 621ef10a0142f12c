"""Readable names for an exported ONNX graph, and nothing in it of the machine that made it.

The exporter numbers its nodes and leaves source paths and stack traces beside them. Here a node is called
after its module and operator (`blocks.0.attention.qkv/MatMul`), and a tensor after the node that makes it.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir

NO_SCOPE = "_empty_nn_module_stack_from_metadata_hook"  # the exporter's name for a graph input's own size
SCOPES = "pkg.torch.onnx.name_scopes"


def scope_of(node: ir.Node) -> str | None:
    """The module a node comes from, `` for the root; None for what the exporter itself rewrote."""
    scopes = node.metadata_props.get(SCOPES)
    scope = None if scopes is None else str(ast.literal_eval(scopes)[:-1][-1])
    return "" if scope == NO_SCOPE else scope


def name_nodes(model: ir.Model) -> None:
    """Give every node and every inner tensor a name from its module path. Inputs and outputs keep theirs."""
    graph = model.graph
    fixed = {id(value) for value in (*graph.inputs, *graph.outputs)}
    fixed |= {id(value) for value in graph.initializers.values() if "." in str(value.name)}
    seen: Counter[str] = Counter()
    scope = ""
    for node in graph:
        known = scope_of(node)
        scope = scope if known is None else known  # a rewritten node stands where its neighbour stands
        stem = f"{scope}/{node.op_type}".lstrip("/")
        node.name = unique(seen, stem)
        for value in node.inputs:
            if value is not None and value.is_initializer() and id(value) not in fixed:
                fixed.add(id(value))
                value.name = unique(seen, f"{scope}/constant".lstrip("/"))
        for i, value in enumerate(node.outputs):
            if id(value) not in fixed:
                value.name = node.name if len(node.outputs) == 1 else f"{node.name}:{i}"


def unique(seen: Counter[str], stem: str) -> str:
    """The stem, numbered from its second use on."""
    seen[stem] += 1
    return stem if seen[stem] == 1 else f"{stem}_{seen[stem]}"


def strip(model: ir.Model) -> None:
    """Remove notes, paths and stack traces."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.doc_string = None
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.doc_string = None
        value.metadata_props.clear()
        if value.const_value is not None:
            value.const_value.doc_string = None
            value.const_value.metadata_props.clear()
    for thing in (model, graph):
        thing.doc_string = None
        thing.metadata_props.clear()
