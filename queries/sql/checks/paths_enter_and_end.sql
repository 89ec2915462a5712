-- entries, path_edges: the paths that enter the graph, and those that reach the
-- loss, are the traced ones
-- reads:  path_totals, entries, path_edges, samples, graphs, tensors
-- param:  $tolerance double  of the traced paths
-- unit:   parameter groups
with entered as (
    select method, sample, parameter_group, sum(paths) as paths
    from stored.entries
    group by all
),

ended as (
    select p.method, p.sample, p.parameter_group, p.edges as paths
    from stored.path_edges as p
    join stored.samples as s on s.sample = p.sample
    join graphs as g on g.graph = s.graph
    join tensors as l
        on l.graph = g.graph
        and l.first_vertex = g.loss_vertex
        and l.node = p.node
),

broken as (
    select
        count(*) filter (
            where not abs(t.traced - coalesce(i.paths, 0))
                <= $tolerance * t.traced
        ) + count(*) filter (
            where not abs(t.traced - coalesce(o.paths, 0))
                <= $tolerance * t.traced
        ) as broken
    from stored.path_totals as t
    left join entered as i using (method, sample, parameter_group)
    left join ended as o using (method, sample, parameter_group)
)

select * from broken
