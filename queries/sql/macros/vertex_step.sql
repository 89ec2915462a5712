-- The token that a vertex belongs to: its place in samples.tokens.
-- value:  place, null where it belongs to none
-- reads:  tensors, nodes
-- param:  in_graph integer  graph of the vertex
-- param:  in_vertex bigint  number of the vertex
create macro vertex_step(in_graph, in_vertex) as (
    select
        max(
            step_at(
                in_vertex - t.first_vertex,
                t.step, t.first_step, t.stride, t.length
            )
        )
    from token_places() as t
    where t.graph = in_graph
        and t.first_vertex <= in_vertex
        and in_vertex < t.first_vertex + t.size
)
