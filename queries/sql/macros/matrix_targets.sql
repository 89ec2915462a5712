-- The matrices of edges target by target, each with its gradient: n_src evenly
-- spaced sources, from src on, and where in matrix_derivatives they are found.
-- Lists are for the last join: a hash table of them would hold every edge.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edge_matrices, vertices
create macro matrix_targets() as table
select
    m.sample, m.src, m.src_step, m.n_src, m.dst + m.target * m.dst_step as dst,
    m.slot, m.matrix, m.target, m.first, v.gradient
from (
    select *, unnest(range(n_dst)) as target from stored.edge_matrices
) as m
join stored.vertices as v
    on v.sample = m.sample and v.vertex = m.dst + m.target * m.dst_step
