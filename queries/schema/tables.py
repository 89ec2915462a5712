"""The graph store's tables: one place that the writer obeys and the reader trusts, with a sentence for every column.

The tables of `GRAPH_TABLES` are one Parquet file each; those of `SHARD_TABLES` have one part per shard of samples. No
file holds a column that follows from others: such a column is *derived*, the table's view finds it where it is asked
for (`queries/sql/views`). The sentences are not in the files: a store that is opened has them as comments, and
docs/store.md is made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa

from .columns import FLOAT, OF_FLOAT64, Column, derived, label, on_request, required

DETAILS = ("study", "parameters", "all")
DTYPES = ("float32", "float64")

# Conservation holds up to rounding: sums of contributions are off by a share of their size, each contribution by TINY,
# below which numbers lose digits. The derivatives of the CANCELLING operators are small differences of larger numbers
# (up to some dozens, near the bend of a GELU by tanh), so that one element of theirs may be off by NOISE.
CANCELLING = ("Gelu", "Mish", "Sigmoid", "Tanh")
NOISE = {"float32": 64 * 2.0**-23, "float64": 64 * 2.0**-52}
TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}

# Every status a sample can have; of the others than OK, only `samples` and `labels` have rows.
OK = "ok"
NON_FINITE = "non-finite"
INVALID = "invalid"


_TEXT = pa.string()

_SAMPLE = required("sample", pa.int64(), "The sample: its number in `samples`.")
_GRAPH = required("graph", pa.int32(), "The graph of the sample: its number in `graphs`.")
_GRAPH_OF_SAMPLE = derived(_GRAPH, "samples")
_OF_GRAPH = Column("graph", pa.int32(), "The graph: its number in `graphs`.")
_METHOD = label("method", "Which paths: one of the methods that the store was dumped with.")
_GROUP = label("parameter_group", "The parameter group, as in `parameter_groups`.")
_SRC = required("src", pa.int64(), "The vertex that the edge leaves: the operator reads it.")
_DST = required("dst", pa.int64(), "The vertex that the edge ends in: the operator computes it.")
_SRC_TENSOR = derived(required("src_tensor", pa.int32(), "The tensor of `src`."), "samples", "tensors")
_DST_TENSOR = derived(required("dst_tensor", pa.int32(), "The tensor of `dst`."), "samples", "tensors")
_SLOT = required("slot", pa.int16(), "Which input of the operator reads `src`, from 0 on.")
_DERIVATIVE = required("derivative", FLOAT, "∂dst/∂src through this input alone.")
_CONTRIBUTION = derived(
    required(
        "contribution",
        FLOAT,
        "Gradient of `dst` · derivative: how much of the gradient of `src` arrives over this edge.",
    ),
    "vertices",
)
_OF_GROUP = (_METHOD, _SAMPLE, _GRAPH_OF_SAMPLE, _GROUP)

_GRAPHS: dict[str, tuple[Column, ...]] = {
    "graphs": (
        Column("graph", pa.int32(), "Number of the graph, in the order in which the samples meet them."),
        Column("fingerprint", _TEXT, "Hash of its operators, tensors and shapes: equal graphs have equal ones."),
        Column("n_nodes", pa.int32(), "Primitive operators, copies included."),
        Column("n_tensors", pa.int32(), "Differentiable tensors, copies included."),
        Column("n_parameters", pa.int64(), "Parameter vertices; their numbers are 0 to n_parameters - 1."),
        Column("n_vertices", pa.int64(), "Vertices: elements of parameters, inputs and operator outputs."),
        Column("loss_vertex", pa.int64(), "The vertex that is traced from: the loss, or the objective in its place."),
        Column(
            "conservation_error",
            pa.float64(),
            "Largest |sum of contributions - gradient| / sum of |contributions| over the vertices of the first sample "
            "of the graph, beyond what rounding explains.",
        ),
    ),
    "nodes": (
        _OF_GRAPH,
        Column("node", pa.int32(), "Number of the operator in its graph, in the order of the forward pass."),
        Column("op_type", _TEXT, "The primitive operator, by its ONNX name: MatMul, Sigmoid."),
        Column("kind", _TEXT, "Which rule makes its edges: elementwise, reduces, contracts, or copies (no edges)."),
        Column("name", _TEXT, "Name of the node of `model.onnx` that it comes from."),
        Column("module", _TEXT, "The torch module that it belongs to, as in `named_modules()`; empty for the model."),
        Column("role", _TEXT, "Its part in the module: a gate, a softmax, the loss; null where nothing names one."),
        Column("component", _TEXT, "Its default component: module, layer and role joined by dots."),
        Column("layer", pa.int32(), "Layer of a stacked recurrent module; null for other operators."),
        Column("step", pa.int32(), "Place in `samples.tokens` of its iteration; null outside loops."),
        Column("order", pa.int32(), "Its place in the forward pass; ties between edges go to the smallest."),
        Column("saturates", pa.bool_(), "Whether its derivative vanishes for large inputs, as that of a Sigmoid does."),
        Column("gate", pa.bool_(), "Whether it saturates between 0 and 1, as what gates other values does."),
    ),
    "tensors": (
        _OF_GRAPH,
        Column("tensor", pa.int32(), "Number of the tensor in its graph."),
        Column("name", _TEXT, "Its name: of a parameter that in the `state_dict`."),
        Column("kind", _TEXT, "parameter, input, activation (an operator computes it), loss, or copy."),
        Column("shape", pa.list_(pa.int64()), "Its shape; empty for a scalar."),
        Column("axis_names", pa.list_(_TEXT), "What each axis runs over: step, key, query, head; null where unknown."),
        Column("first_step", pa.int32(), "Place in `samples.tokens` of index 0 along the axis named step, or null."),
        Column("node", pa.int32(), "The operator that computes it; null for a parameter or an input."),
        Column(
            "first_vertex",
            pa.int64(),
            "Vertex of its first element; the others follow in row-major order. Null for copies: they repeat vertices.",
        ),
        Column("size", pa.int64(), "Number of elements."),
        Column("aliases", pa.list_(_TEXT), "Further names of a tied parameter."),
    ),
    "components": (
        Column("component", _TEXT, "Name of a default component: module, layer and role joined by dots."),
        Column("module", _TEXT, "Its torch module."),
        Column("role", _TEXT, "Its role in the module; null where nothing names one."),
        Column("layer", pa.int32(), "Its layer of a stacked recurrent module, or null."),
    ),
    "parameter_groups": (
        Column("parameter_group", _TEXT, "Name of the group: the parameter, and its gate where it is split by gates."),
        Column("parameter", _TEXT, "The parameter that the group is a part of."),
        Column("slice", _TEXT, "Its elements in Python's notation, as in '0:200, :'; null for the whole parameter."),
        Column("size", pa.int64(), "Number of elements."),
    ),
}

_SHARDS: dict[str, tuple[Column, ...]] = {
    "samples": (
        Column("sample", pa.int64(), "Number of the sample, from 0 on, in the order of the samples file."),
        Column("graph", pa.int32(), "Its graph: number in `graphs`; null where it was not recorded."),
        Column("text", _TEXT, "Its line of the samples file; null for inputs without a text."),
        Column("tokens", pa.list_(_TEXT), "The words that steps stand for, as the encoder gave them."),
        Column("loss", pa.float64(), "Value of the loss, or of the objective traced in its place."),
        Column("n_tokens", pa.int32(), "Number of tokens."),
        Column("n_vertices", pa.int64(), "Vertices of its graph."),
        Column("n_edges", pa.int64(), "Edges of its graph, stored or not."),
        Column("seconds", pa.float64(), "Time it took to record, trace and write it."),
        Column("status", _TEXT, "ok; of invalid and non-finite samples other tables know the labels alone."),
        Column("message", _TEXT, "Why it was not recorded; null where it was."),
        Column("checkpoint", _TEXT, "The checkpoint it was recorded with; null where the model has none."),
    ),
    "labels": (
        _SAMPLE,
        label("label", "What is said of the sample, such as number."),
        required("value", _TEXT, "What it is, as text, such as plural."),
    ),
    "vertices": (
        _SAMPLE,
        _GRAPH_OF_SAMPLE,
        required("vertex", pa.int64(), "Number of the vertex in its graph; `vertex_name(graph, vertex)` names it."),
        derived(required("tensor", pa.int32(), "The tensor that it is an element of."), "samples", "tensors"),
        on_request(
            "value", FLOAT, "Its value in the forward pass; null in detail `study` without --statistics or soft."
        ),
        required("gradient", FLOAT, "∂loss/∂vertex."),
        on_request(
            "contribution_l1", pa.float64(), "Sum of |contribution| over its edges (--method soft, --statistics)."
        ),
        on_request(
            "split_entropy",
            pa.float64(),
            "Entropy of |contribution| / contribution_l1 in bits: 0 is one way on, 1 two equal ones.",
        ),
        on_request("log2_paths", pa.float64(), "log2 of the number of paths to the loss (--statistics, as the next)."),
        on_request("log2_products", pa.float64(), "log2 of the sum of |product of derivatives| over these paths."),
        on_request("log2_positive", pa.float64(), "log2 of the largest positive product; null: there is none."),
        on_request("log2_negative", pa.float64(), "log2 of the largest |negative product|; null: there is none."),
        on_request("path_entropy", pa.float64(), "Entropy of |product| / sum of |products| over these paths, in bits."),
    ),
    "node_gradients": (
        _SAMPLE,
        _GRAPH_OF_SAMPLE,
        derived(
            Column("node", pa.int32(), "The operator that computes the tensor; null for a parameter or an input."),
            "samples",
            "tensors",
        ),
        required("tensor", pa.int32(), "The tensor."),
        derived(required("n", pa.int64(), "Number of elements."), "samples", "tensors"),
        required("value_l1", pa.float64(), "Sum of |value|."),
        required("value_l2", pa.float64(), "Euclidean norm of the values."),
        required("value_max", pa.float64(), "Largest |value|."),
        required("value_zeros", pa.float64(), "Share of the values that are 0."),
        required("gradient_l1", pa.float64(), "Sum of |gradient|."),
        required("gradient_l2", pa.float64(), "Euclidean norm of the gradients."),
        required("gradient_max", pa.float64(), "Largest |gradient|."),
        required("gradient_zeros", pa.float64(), "Share of the gradients that are 0."),
    ),
    "edges": (_SAMPLE, _GRAPH_OF_SAMPLE, _SRC, _DST, _SRC_TENSOR, _DST_TENSOR, _SLOT, _DERIVATIVE, _CONTRIBUTION),
    "edge_matrices": (
        _SAMPLE,
        required("src", pa.int64(), "Its first source."),
        required("src_step", pa.int64(), "From one source to the next: their numbers are evenly spaced."),
        required("n_src", pa.int64(), "Number of sources, all of one tensor."),
        required("dst", pa.int64(), "The first target of each source."),
        required("dst_step", pa.int64(), "From one target to the next."),
        required("n_dst", pa.int64(), "Number of targets, all of one tensor: each source has an edge to each of them."),
        _SLOT,
        required("matrix", pa.int32(), "Where the derivatives are: its number in `matrix_derivatives`."),
        required("first", pa.int64(), "Place of the first source in the lists of the matrix, from 0 on."),
    ),
    "matrix_derivatives": (
        _SAMPLE,
        required("matrix", pa.int32(), "Number of the matrix in its sample."),
        required("target", pa.int64(), "Which target of a row of `edge_matrices`, from 0 on."),
        required("derivatives", pa.list_(FLOAT), "∂target/∂source of each source, one behind the other."),
    ),
    "best_edges": (
        _METHOD,
        _SAMPLE,
        _GRAPH_OF_SAMPLE,
        _SRC,
        required("rank", pa.int16(), "1 for the edge that the path of the method takes, 2 for the runner-up, …"),
        _DST,
        _SRC_TENSOR,
        _DST_TENSOR,
        _SLOT,
        _DERIVATIVE,
        _CONTRIBUTION,
        on_request(
            "score",
            FLOAT,
            "What the method ranks by. greedy: the contribution (null in the files, for it follows from others); "
            "product: log2 of the largest |product of derivatives| over the paths that begin with this edge; soft: "
            "log2 of the probability of the most probable such path. Null: the edge carries nothing, and a vertex "
            "whose best edge is such a one is dead.",
        ),
    ),
    "entries": (
        *_OF_GROUP,
        required("vertex", pa.int64(), "The first vertex behind the parameter on its path."),
        required("paths", pa.float64(), "Parameters of the group whose path enters here and reaches the loss."),
        required("gradient_l1", FLOAT, "Sum of their |gradient|."),
    ),
    "path_edges": (
        *_OF_GROUP,
        required("node", pa.int32(), "The operator that computes the edges' ends."),
        required("edges", pa.float64(), "Edges of the group's paths that the operator computes, counted per path."),
        required("weighted_edges", pa.float64(), "The same, each path weighted by its parameter's |gradient|."),
    ),
    "path_links": (
        *_OF_GROUP,
        required("from_node", pa.int32(), "The operator that computes the edges' sources."),
        required("to_node", pa.int32(), "The operator that computes the edges' ends."),
        required("edges", pa.float64(), "Edges of the group's paths from the one to the other, counted per path."),
        required("weighted_edges", pa.float64(), "The same, each path weighted by its parameter's |gradient|."),
    ),
    "path_spans": (
        *_OF_GROUP,
        Column(
            "entry_step",
            pa.int32(),
            "Place in `samples.tokens` of the first vertex behind the parameter, where the weight is used; null where "
            "that belongs to no token.",
        ),
        Column(
            "end_step",
            pa.int32(),
            "Place of the last vertex on the path that belongs to a token, whose loss the path ends in; null where "
            "none does.",
        ),
        required("paths", pa.float64(), "Paths of the group from the one to the other."),
        required("weighted_paths", pa.float64(), "The same, each path weighted by its parameter's |gradient|."),
    ),
    "path_counts": (
        *_OF_GROUP,
        label("component", "The default component, as in `components`."),
        required("paths", pa.float64(), "Paths of the group that pass through the component."),
        required("weighted_paths", pa.float64(), "The same, each path weighted by its parameter's |gradient|."),
    ),
    "path_totals": (
        *_OF_GROUP,
        required("parameters", pa.int64(), "Parameters of the group."),
        required("traced", pa.int64(), "Those whose path reaches the loss."),
        required("dead", pa.int64(), "Those whose path meets a vertex whose best edge carries nothing."),
        required("absent", pa.int64(), "Those without any edge in this sample, such as a word that is not in it."),
        required("traced_gradient_l1", pa.float64(), "Sum of |gradient| over the traced ones."),
    ),
}

COLUMNS: dict[str, tuple[Column, ...]] = _GRAPHS | _SHARDS

# What the rows of a table are.
ROWS: dict[str, str] = {
    "graphs": "One row per unrolled graph; samples of one length mostly share theirs.",
    "nodes": "One row per primitive operator of a graph, copies included.",
    "tensors": "One row per differentiable tensor of a graph.",
    "components": "One row per default component: operators of one module, layer and role.",
    "parameter_groups": "One row per parameter tensor, or per gate of a stacked recurrent one.",
    "samples": "One row per sample, recorded or not.",
    "labels": "One row per sample and label: what the samples file says of it.",
    "vertices": "One row per scalar: in detail `study` those that a row of `best_edges` leaves or leads to.",
    "node_gradients": "One row per tensor that has vertices: norms of its values and gradients.",
    "edges": "One row per edge of the graph (detail `all` only). Those of matrix products are not in its files: the "
    "view makes them of `edge_matrices` and `matrix_derivatives`.",
    "edge_matrices": "One row per run of sources in a matrix product's operand that lead to the same targets (detail "
    "`all` only). The derivative of target z by source y is number first + y, from 0 on, of the list of (matrix, z).",
    "matrix_derivatives": "One row per target of a distinct matrix of derivatives (detail `all` only).",
    "best_edges": "One row per method, vertex and rank: the K best edges of the vertex (`--keep K`).",
    "entries": "One row per vertex where paths of a parameter group enter the graph.",
    "path_edges": "One row per operator and parameter group: edges of the group's paths.",
    "path_links": "One row per two operators and parameter group: edges of the group's paths from one to the other. "
    "With those that enter the graph, from a parameter (`entries`), they are `path_edges`; no path meets an input.",
    "path_spans": "One row per two tokens and parameter group: how far the group's paths lead through the text.",
    "path_counts": "One row per default component and parameter group: paths that pass through it.",
    "path_totals": "One row per parameter group: how many of its parameters are traced, dead and absent.",
}

# The columns that identify a row, in the order the rows are sorted by.
GRAIN: dict[str, tuple[str, ...]] = {
    "graphs": ("graph",),
    "nodes": ("graph", "node"),
    "tensors": ("graph", "tensor"),
    "components": ("component",),
    "parameter_groups": ("parameter_group",),
    "samples": ("sample",),
    "labels": ("sample", "label"),
    "vertices": ("sample", "vertex"),
    "node_gradients": ("sample", "tensor"),
    "edges": ("sample", "src", "dst", "slot"),
    "edge_matrices": ("sample", "src", "dst", "slot"),
    "matrix_derivatives": ("sample", "matrix", "target"),
    "best_edges": ("sample", "method", "src", "rank"),
    "entries": ("sample", "method", "parameter_group", "vertex"),
    "path_edges": ("sample", "method", "parameter_group", "node"),
    "path_links": ("sample", "method", "parameter_group", "from_node", "to_node"),
    "path_spans": ("sample", "method", "parameter_group", "entry_step", "end_step"),
    "path_counts": ("sample", "method", "parameter_group", "component"),
    "path_totals": ("sample", "method", "parameter_group"),
}

# The tables that further rows of a table's view are made of.
MADE_OF: dict[str, tuple[str, ...]] = {"edges": ("edge_matrices", "matrix_derivatives")}

# Those of them that may be null, which is a value like others: no token.
NULL_KEYS = ("entry_step", "end_step")


def _schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in columns])


def _stored(columns: Iterable[Column]) -> pa.Schema:
    return _schema(column for column in columns if column.is_stored)


# The columns of the files.
GRAPH_TABLES: dict[str, pa.Schema] = {table: _stored(columns) for table, columns in _GRAPHS.items()}
SHARD_TABLES: dict[str, pa.Schema] = {table: _stored(columns) for table, columns in _SHARDS.items()}

# Those whose rows mean something without those of another table.
ROW_TABLES = tuple(table for table in SHARD_TABLES if table not in {name for made in MADE_OF.values() for name in made})


def table_schema(table: str, dtype: str, names: Collection[str] | None = None) -> pa.Schema:
    """The columns of the files of `table` in a store whose values and gradients are `dtype` ('float32', 'float64').

    names: those of a file, which tell the columns on request that it has; None: it has all of them
    """
    schema = GRAPH_TABLES[table] if table in GRAPH_TABLES else _of_dtype(SHARD_TABLES[table], dtype)
    left_out = columns_on_request(table) - set(schema.names if names is None else names)
    return pa.schema([field for field in schema if field.name not in left_out])


def columns_on_request(table: str) -> set[str]:
    """The columns that files of `table` have only where they were asked for."""
    return {column.name for column in COLUMNS[table] if column.on_request}


def view_schema(table: str, dtype: str) -> pa.Schema:
    """The columns of the view of `table`, derived ones included, in the order of the schema."""
    return _of_dtype(_schema(COLUMNS[table]), dtype)


def _of_dtype(schema: pa.Schema, dtype: str) -> pa.Schema:
    if dtype == "float64":
        return pa.schema([f.with_type(OF_FLOAT64.get(f.type, f.type)) for f in schema])
    return schema


def tables_of_view(table: str) -> list[str]:
    """The tables whose files the view of `table` may read: its own, those that its derived columns follow from, and
    those that further rows are made of.
    """
    derived = (name for column in COLUMNS[table] for name in column.derived_from)
    return list(dict.fromkeys([table, *derived, *MADE_OF.get(table, ())]))
