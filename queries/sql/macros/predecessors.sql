-- The edges that lead to a vertex, the largest |contribution| first.
-- grain:  one row per (src, slot)
-- reads:  tensors, edges, best_edges
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex
create macro predecessors(in_sample, in_vertex) as table
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative,
    contribution, vertex_name(graph, src) as vertex_name
from known_edges()
where sample = in_sample and dst = in_vertex
order by abs(contribution) desc, dst, slot
