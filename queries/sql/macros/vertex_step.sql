-- The place in samples.tokens of a vertex along an axis named 'step'.
-- value:  place, null where its tensor has no such axis
-- reads:  tensors
-- param:  in_graph integer  graph of the vertex
-- param:  in_vertex bigint  number of the vertex
create macro vertex_step(in_graph, in_vertex) as (
    select
        max(
            t.first_step + axis_index(
                in_vertex - t.first_vertex,
                t.shape,
                list_position(t.axis_names, 'step')
            )
        )
    from tensors as t
    where t.graph = in_graph
        and t.first_vertex <= in_vertex
        and in_vertex < t.first_vertex + t.size
)
