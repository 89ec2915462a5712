-- The edges, those of matrices among them, with the graph, the tensors and the
-- contributions that follow from other tables. Of matrices these are found
-- once for all sources that lead to a target.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, edge_matrices, matrix_derivatives, vertices, samples, tensors
create view edges as
select
    e.sample, b.graph, e.src, e.dst, a.tensor as src_tensor,
    b.tensor as dst_tensor, e.slot, e.derivative,
    e.derivative * v.gradient as contribution
from stored.edges as e
join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
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
union all
select * exclude (gradient), derivative * gradient as contribution
from (
    select
        t.sample, t.graph, unnest(sources(t.src, t.src_step, t.n_src)) as src,
        t.dst, t.src_tensor, t.dst_tensor, t.slot,
        unnest(list_part(d.derivatives, t.first, t.n_src)) as derivative,
        t.gradient
    from placed_targets() as t
    left join stored.matrix_derivatives as d
        on d.sample = t.sample and d.matrix = t.matrix and d.target = t.target
)
