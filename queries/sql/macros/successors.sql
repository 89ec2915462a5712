-- The edges that leave a vertex, the largest |contribution| first.
-- grain:  one row per (dst, slot)
-- reads:  tensors, edges, best_edges
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex
create macro successors(in_sample, in_vertex) as table
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative,
    contribution, vertex_name(graph, dst) as vertex_name
from known_edges()
where sample = in_sample and src = in_vertex
order by abs(contribution) desc, dst, slot
