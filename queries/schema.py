"""The graph store's tables: one place that the writer obeys and the reader trusts.

The tables of `GRAPH_TABLES` are one Parquet file each; those of `SHARD_TABLES` have one part per shard of samples.
"""

from __future__ import annotations

import pyarrow as pa

DETAILS = ("study", "parameters", "all")
DTYPES = ("float32", "float64")

# Every status a sample can have; only samples with OK have rows in the other tables.
OK = "ok"
NON_FINITE = "non-finite"
INVALID = "invalid"


def _required(name: str, kind: pa.DataType) -> pa.Field:
    """A column without nulls; its rows are written in less time."""
    return pa.field(name, kind, nullable=False)


def _label(name: str) -> pa.Field:
    """A column of few distinct strings."""
    return _required(name, pa.dictionary(pa.int32(), pa.string()))


_FLOAT = pa.float32()  # stands for the store's dtype; see `table_schema`

GRAPH_TABLES: dict[str, pa.Schema] = {
    "graphs": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("fingerprint", pa.string()),
            pa.field("n_nodes", pa.int32()),
            pa.field("n_tensors", pa.int32()),
            pa.field("n_parameters", pa.int64()),
            pa.field("n_vertices", pa.int64()),
            pa.field("loss_vertex", pa.int64()),
            # largest |sum of contributions - gradient| / sum of |contributions| over the vertices of the first sample
            pa.field("conservation_error", pa.float64()),
        ]
    ),
    "nodes": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("node", pa.int32()),
            pa.field("op_type", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("name", pa.string()),
            pa.field("module", pa.string()),
            pa.field("role", pa.string()),
            pa.field("component", pa.string()),
            pa.field("layer", pa.int32()),
            pa.field("step", pa.int32()),  # place in samples.tokens of the iteration that the operator is of
            pa.field("order", pa.int32()),
            # whether its derivative goes to 0 at large inputs, as that of Sigmoid and Tanh does
            pa.field("saturates", pa.bool_()),
        ]
    ),
    "tensors": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("tensor", pa.int32()),
            pa.field("name", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("shape", pa.list_(pa.int64())),
            pa.field("axis_names", pa.list_(pa.string())),
            # place in samples.tokens that index 0 along the axis named 'step' stands for; null without such an axis
            pa.field("first_step", pa.int32()),
            pa.field("node", pa.int32()),
            pa.field("first_vertex", pa.int64()),
            pa.field("size", pa.int64()),
            pa.field("aliases", pa.list_(pa.string())),
        ]
    ),
    "components": pa.schema(
        [
            pa.field("component", pa.string()),
            pa.field("module", pa.string()),
            pa.field("role", pa.string()),
            pa.field("layer", pa.int32()),
        ]
    ),
    "parameter_groups": pa.schema(
        [
            pa.field("parameter_group", pa.string()),
            pa.field("parameter", pa.string()),
            pa.field("slice", pa.string()),
            pa.field("size", pa.int64()),
        ]
    ),
}

SHARD_TABLES: dict[str, pa.Schema] = {
    "samples": pa.schema(
        [
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("text", pa.string()),
            pa.field("tokens", pa.list_(pa.string())),
            pa.field("loss", pa.float64()),
            pa.field("n_tokens", pa.int32()),
            pa.field("n_vertices", pa.int64()),
            pa.field("n_edges", pa.int64()),
            pa.field("seconds", pa.float64()),
            pa.field("status", pa.string()),
            pa.field("message", pa.string()),
            # what the samples file says of the sample beside its text, such as condition -> plural
            pa.field("labels", pa.map_(pa.string(), pa.string())),
            # name of the checkpoint it was recorded with; null where the model has none
            pa.field("checkpoint", pa.string()),
        ]
    ),
    "vertices": pa.schema(
        [
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _required("vertex", pa.int64()),
            _required("tensor", pa.int32()),
            _required("value", _FLOAT),
            _required("gradient", _FLOAT),
            # where the soft trace was asked for, else null: sum of |contributions|, and the entropy of their shares
            pa.field("contribution_l1", pa.float64()),
            pa.field("split_entropy", pa.float64()),
            # of all paths to the loss, where statistics were asked for: base-2 logarithms of their number, of the sum
            # of their |products|, of the largest positive and the largest negative |product| (null: there is none),
            # and the entropy of |product| / sum in bits
            pa.field("log2_paths", pa.float64()),
            pa.field("log2_products", pa.float64()),
            pa.field("log2_positive", pa.float64()),
            pa.field("log2_negative", pa.float64()),
            pa.field("path_entropy", pa.float64()),
        ]
    ),
    "node_gradients": pa.schema(
        [
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            pa.field("node", pa.int32()),  # null for a parameter or an input
            _required("tensor", pa.int32()),
            _required("n", pa.int64()),
            _required("value_l1", pa.float64()),
            _required("value_l2", pa.float64()),
            _required("value_max", pa.float64()),
            _required("value_zeros", pa.float64()),
            _required("gradient_l1", pa.float64()),
            _required("gradient_l2", pa.float64()),
            _required("gradient_max", pa.float64()),
            _required("gradient_zeros", pa.float64()),
        ]
    ),
    "edges": pa.schema(
        [
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _required("src", pa.int64()),
            _required("dst", pa.int64()),
            _required("src_tensor", pa.int32()),
            _required("dst_tensor", pa.int32()),
            _required("slot", pa.int16()),
            _required("derivative", _FLOAT),
            _required("contribution", _FLOAT),
        ]
    ),
    "best_edges": pa.schema(
        [
            _label("method"),
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _required("src", pa.int64()),
            _required("rank", pa.int16()),
            _required("dst", pa.int64()),
            _required("src_tensor", pa.int32()),
            _required("dst_tensor", pa.int32()),
            _required("slot", pa.int16()),
            _required("derivative", _FLOAT),
            _required("contribution", _FLOAT),
            # what the method ranks by. greedy: the contribution; product: log2 of the largest |product of derivatives|
            # over the paths that begin with this edge; soft: log2 of the probability of the most probable such path;
            # null: the edge carries nothing, and a vertex whose best edge is such a one is dead. In the files
            # it is null for greedy, too: the view takes it from the contribution
            pa.field("score", _FLOAT),
        ]
    ),
    "entries": pa.schema(
        [
            _label("method"),
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _label("parameter_group"),
            _required("vertex", pa.int64()),
            _required("paths", pa.float64()),
            _required("gradient_l1", pa.float64()),
        ]
    ),
    "path_edges": pa.schema(
        [
            _label("method"),
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _label("parameter_group"),
            _required("node", pa.int32()),
            _required("edges", pa.float64()),
            _required("weighted_edges", pa.float64()),
        ]
    ),
    "path_counts": pa.schema(
        [
            _label("method"),
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _label("parameter_group"),
            _label("component"),
            _required("paths", pa.float64()),
            _required("weighted_paths", pa.float64()),
        ]
    ),
    "path_totals": pa.schema(
        [
            _label("method"),
            _required("sample", pa.int64()),
            _required("graph", pa.int32()),
            _label("parameter_group"),
            _required("parameters", pa.int64()),
            _required("traced", pa.int64()),
            _required("dead", pa.int64()),
            _required("absent", pa.int64()),
            _required("traced_gradient_l1", pa.float64()),
        ]
    ),
}

# The columns that identify a row, in the order the rows are sorted by.
GRAIN: dict[str, tuple[str, ...]] = {
    "graphs": ("graph",),
    "nodes": ("graph", "node"),
    "tensors": ("graph", "tensor"),
    "components": ("component",),
    "parameter_groups": ("parameter_group",),
    "samples": ("sample",),
    "vertices": ("sample", "vertex"),
    "node_gradients": ("sample", "tensor"),
    "edges": ("sample", "src", "dst", "slot"),
    "best_edges": ("sample", "method", "src", "rank"),
    "entries": ("sample", "method", "parameter_group", "vertex"),
    "path_edges": ("sample", "method", "parameter_group", "node"),
    "path_counts": ("sample", "method", "parameter_group", "component"),
    "path_totals": ("sample", "method", "parameter_group"),
}


def table_schema(table: str, dtype: str) -> pa.Schema:
    """The schema of `table` in a store whose values and gradients are `dtype` ('float32' or 'float64')."""
    if table in GRAPH_TABLES:
        return GRAPH_TABLES[table]
    schema = SHARD_TABLES[table]
    if dtype == "float64":
        fields = [f.with_type(pa.float64()) if f.type == _FLOAT else f for f in schema]
        return pa.schema(fields)
    return schema
