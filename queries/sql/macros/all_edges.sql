-- All edges with the contributions that follow from gradients; tensors and
-- graph are for the view edges to find.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, edge_matrices, matrix_derivatives, vertices
-- unit:   contribution: derivative times the gradient of dst, in the store's
--         dtype
create macro all_edges() as table
with of_matrices as (
    select
        t.sample, unnest(sources(t.src, t.src_step, t.n_src)) as src, t.dst,
        t.slot, t.gradient,
        unnest(list_part(d.derivatives, t.first, t.n_src)) as derivative
    from matrix_targets() as t
    left join stored.matrix_derivatives as d
        on d.sample = t.sample and d.matrix = t.matrix and d.target = t.target
)

select
    e.sample, e.src, e.dst, e.slot, e.derivative,
    e.derivative * v.gradient as contribution
from stored.edges as e
join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
union all
select sample, src, dst, slot, derivative, derivative * gradient as contribution
from of_matrices
