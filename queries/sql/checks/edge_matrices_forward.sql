-- edge_matrices: sources are smaller than targets, and both are vertices
-- reads:  edge_matrices, samples, graphs
-- unit:   rows
with ends as (
    select
        *, least(src, src + (n_src - 1) * src_step) as first_src,
        greatest(src, src + (n_src - 1) * src_step) as last_src,
        least(dst, dst + (n_dst - 1) * dst_step) as first_dst,
        greatest(dst, dst + (n_dst - 1) * dst_step) as last_dst
    from stored.edge_matrices
),

broken as (
    select count(*) as broken
    from ends as e
    join stored.samples as s on s.sample = e.sample
    join graphs as g on g.graph = s.graph
    where not coalesce(
        e.src_step <> 0
        and e.dst_step <> 0
        and e.n_src > 0
        and e.n_dst > 0
        and e.first_src >= 0
        and e.last_src < e.first_dst
        and e.first_dst >= g.n_parameters
        and e.last_dst < g.n_vertices,
        false
    )
)

select * from broken
