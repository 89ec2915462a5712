"""The macros a store offers in SQL: names of vertices, neighbours of a vertex, and one trace."""

from __future__ import annotations

# index along axis i of a flat index = (flat // number of elements behind axis i) % size of axis i
_INDEX = """((in_flat // coalesce(list_product(in_shape[in_axis + 1:]), 1)::bigint) % in_shape[in_axis])"""

_AXIS_INDEX = f"create macro axis_index(in_flat, in_shape, in_axis) as {_INDEX}"

_VERTEX_NAME = """
create macro vertex_name(in_graph, in_vertex) as (
    select
        max(
            t.name || case when len(t.shape) = 0 then '' else '[' || array_to_string(
                list_transform(
                    range(1, len(t.shape) + 1),
                    lambda i: axis_index(in_vertex - t.first_vertex, t.shape, i)
                ), ','
            ) || ']' end
        )
    from tensors as t
    where t.graph = in_graph
        and t.first_vertex <= in_vertex
        and in_vertex < t.first_vertex + t.size
)
"""

# the place in samples.tokens
_VERTEX_STEP = """
create macro vertex_step(in_graph, in_vertex) as (
    select max(
        t.first_step
        + axis_index(in_vertex - t.first_vertex, t.shape, list_position(t.axis_names, 'step'))
    )
    from tensors as t
    where t.graph = in_graph
        and t.first_vertex <= in_vertex
        and in_vertex < t.first_vertex + t.size
)
"""

_NEIGHBOURS = """
create macro {name}(in_sample, in_vertex) as table
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative, contribution,
    vertex_name(graph, {other}) as vertex_name
from {table}
where sample = in_sample and {this} = in_vertex {method}
order by abs(contribution) desc, dst, slot
"""

# The edges are materialised once: a recursive term that reads Parquet would read it again at every hop.
# Activations lie behind the parameters, so only their edges and the start's are read. Edges lead to larger vertices, so
# the order of the vertices is the order of the hops; `src in` is the form of the recursion that DuckDB runs fastest.
_TRACE = """
create macro trace(in_sample, in_vertex, in_method := 'greedy') as table
with recursive traced as materialized (
    select sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative, contribution, score
    from best_edges
    where method = in_method
        and sample = in_sample
        and rank = 1
        and score is not null
        and (src = in_vertex or src >= n_parameters())
), path as (
    select * from traced where src = in_vertex
    union all
    select * from traced where src in (select dst from path)
)
select row_number() over (order by src) as hop, * from path order by hop
"""


# Scores are what is compared (greedy) or its base-2 logarithm; null is nothing.
_MARGIN = """
create macro margin(in_method, in_best, in_runner_up) as 1 - coalesce(
    case
        when in_method = 'greedy' then abs(in_runner_up) / abs(in_best) else pow(2, in_runner_up - in_best)
    end, 0
)
"""


def macro_statements(detail: str, methods: list[str], n_parameters: int) -> list[str]:
    """The `create macro` statements for a store of this detail and methods; neighbours are all edges where they were
    kept, else the best ones.

    The number of parameters is the same in all graphs of a store. As a constant it lets DuckDB skip the rows of
    parameters, which a subquery would not.
    """
    constant = f"create macro n_parameters() as {n_parameters}::bigint"
    table, method = ("edges", "") if detail == "all" else ("best_edges", f"and method = '{methods[0]}'")
    neighbours = [
        _NEIGHBOURS.format(name=name, this=this, other=other, table=table, method=method)
        for name, this, other in (("successors", "src", "dst"), ("predecessors", "dst", "src"))
    ]
    return [constant, _AXIS_INDEX, _VERTEX_NAME, _VERTEX_STEP, _MARGIN, *neighbours, _TRACE]
