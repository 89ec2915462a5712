-- The edges, with the graph, the tensors and the contributions that follow from
-- other tables.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, vertices, samples, tensors
create view edges as
select
    e.sample, b.graph, e.src, e.dst, a.tensor as src_tensor,
    b.tensor as dst_tensor, e.slot, e.derivative, e.contribution
from all_edges() as e
join tensor_blocks() as a
    on a.sample = e.sample
    and a.block = vertex_block(e.src)
    and e.src >= a.first_vertex
    and e.src < a.behind
join tensor_blocks() as b
    on b.sample = e.sample
    and b.block = activation_block(e.dst)
    and e.dst >= b.first_vertex
    and e.dst < b.behind
