-- The name of a vertex, such as lstm.weight_hh_l0[3,17].
-- value:  name, null where the graph has no such vertex
-- reads:  tensors
-- param:  in_graph integer  graph of the vertex
-- param:  in_vertex bigint  number of the vertex
create macro vertex_name(in_graph, in_vertex) as (
    select
        max(
            t.name || case
                when len(t.shape) = 0 then ''
                else '[' || array_to_string(
                    list_transform(
                        range(1, len(t.shape) + 1),
                        lambda i:
                            axis_index(in_vertex - t.first_vertex, t.shape, i)
                    ),
                    ','
                ) || ']'
            end
        )
    from tensors as t
    where t.graph = in_graph
        and t.first_vertex <= in_vertex
        and in_vertex < t.first_vertex + t.size
)
