-- The edges that lead to a vertex, the largest |contribution| first.
-- grain:  one row per (src, slot)
-- reads:  samples, tensors, edges, edge_matrices, matrix_derivatives,
--         best_edges, vertices
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex
create macro predecessors(in_sample, in_vertex) as table
with found as materialized (
    select *
    from edges_to(in_sample, in_vertex)
)

select
    f.sample, b.graph, f.src, f.dst, a.tensor as src_tensor,
    b.tensor as dst_tensor, f.slot, f.derivative, f.contribution,
    vertex_name(b.graph, f.src) as vertex_name
from found as f
join tensor_blocks() as a
    on a.sample = in_sample
    and a.block = vertex_block(f.src)
    and f.src >= a.first_vertex
    and f.src < a.behind
join tensor_blocks() as b
    on b.sample = in_sample
    and b.block = activation_block(f.dst)
    and f.dst >= b.first_vertex
    and f.dst < b.behind
order by abs(f.contribution) desc, f.dst, f.slot
