-- The edges that lead to a vertex: all of them where the store holds them, else
-- the best of its first method. Of matrices only the lists of the vertex are
-- looked up.
-- grain:  one row per (src, slot)
-- reads:  edges, edge_matrices, matrix_derivatives, best_edges, vertices
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex
create macro edges_to(in_sample, in_vertex) as table
with runs as materialized (
    select *, (in_vertex - dst) // dst_step as target
    from stored.edge_matrices
    where sample = in_sample and (in_vertex - dst) % dst_step = 0
),

found as (
    select src, slot, derivative
    from stored.edges
    where sample = in_sample and dst = in_vertex
    union all
    select
        unnest(sources(r.src, r.src_step, r.n_src)) as src, r.slot,
        unnest(list_part(d.derivatives, r.first, r.n_src)) as derivative
    from runs as r
    join stored.matrix_derivatives as d
        on d.matrix = r.matrix and d.target = r.target
    where d.sample = in_sample and r.target >= 0 and r.target < r.n_dst
)

select
    in_sample as sample, f.src, in_vertex as dst, f.slot, f.derivative,
    f.derivative * v.gradient as contribution
from found as f
join stored.vertices as v on v.sample = in_sample and v.vertex = in_vertex
union all
select sample, src, dst, slot, derivative, contribution
from scored_edges()
where detail() <> 'all'
    and method = first_method()
    and sample = in_sample
    and dst = in_vertex
