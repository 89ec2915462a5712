-- The edges that leave a vertex: all of them where the store holds them, else
-- the best of its first method. Of matrices only the vertex's own derivatives
-- are looked up.
-- grain:  one row per (dst, slot)
-- reads:  edges, edge_matrices, matrix_derivatives, best_edges, vertices
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex
create macro edges_from(in_sample, in_vertex) as table
with runs as materialized (
    select *, (in_vertex - src) // src_step as place
    from stored.edge_matrices
    where sample = in_sample and (in_vertex - src) % src_step = 0
),

found as (
    select dst, slot, derivative
    from stored.edges
    where sample = in_sample and src = in_vertex
    union all
    select
        r.dst + d.target * r.dst_step as dst, r.slot,
        d.derivatives[r.first + r.place + 1] as derivative
    from runs as r
    join stored.matrix_derivatives as d on d.matrix = r.matrix
    where d.sample = in_sample and r.place >= 0 and r.place < r.n_src
)

select
    in_sample as sample, in_vertex as src, f.dst, f.slot, f.derivative,
    f.derivative * v.gradient as contribution
from found as f
join stored.vertices as v on v.sample = in_sample and v.vertex = f.dst
union all
select sample, src, dst, slot, derivative, contribution
from scored_edges()
where detail() <> 'all'
    and method = first_method()
    and sample = in_sample
    and src = in_vertex
