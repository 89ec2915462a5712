-- matrix_targets with graph and tensors. These are few rows, and found first:
-- what joined them to every edge's list would hold all edges in memory.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edge_matrices, vertices, samples, tensors
create macro placed_targets() as table
with placed as materialized (
    select
        t.*, b.graph, a.tensor as src_tensor, b.tensor as dst_tensor
    from matrix_targets() as t
    join tensor_blocks() as a
        on a.sample = t.sample
        and a.block = vertex_block(t.src)
        and t.src >= a.first_vertex
        and t.src < a.behind
    join tensor_blocks() as b
        on b.sample = t.sample
        and b.block = activation_block(t.dst)
        and t.dst >= b.first_vertex
        and t.dst < b.behind
)

select * from placed
