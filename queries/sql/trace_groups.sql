-- The paths of all parameters of a sample at once: how many edges of each
-- group's paths every operator computes, pushed level by level. It must equal
-- path_edges.
-- grain:  one row per (parameter_group, node)
-- reads:  entries, best_edges, tensors
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  one of greedy, product: which paths
-- unit:   edges; weighted_edges count each parameter by its absolute gradient
with recursive traced as materialized (
    select src, dst
    from best_edges
    where method = $method
        and sample = $sample
        and rank = 1
        and score is not null
        and src >= n_parameters()
),

mass as (
    select parameter_group, vertex, paths, gradient_l1
    from entries
    where method = $method and sample = $sample
    union all
    select
        m.parameter_group, t.dst as vertex,
        sum(m.paths) as paths, sum(m.gradient_l1) as gradient_l1
    from mass as m
    join traced as t on t.src = m.vertex
    group by m.parameter_group, t.dst
),

edges_into as (
    select
        parameter_group, vertex,
        sum(paths) as edges, sum(gradient_l1) as weighted_edges
    from mass
    group by parameter_group, vertex
),

owners as (
    select node, first_vertex, first_vertex + size as end_vertex
    from tensors
    where first_vertex is not null
        and graph = (
            select any_value(graph) from entries where sample = $sample
        )
),

edges_of as (
    select
        e.parameter_group, o.node,
        sum(e.edges) as edges, sum(e.weighted_edges) as weighted_edges
    from edges_into as e
    join owners as o
        on o.first_vertex <= e.vertex and e.vertex < o.end_vertex
    group by all
)

select * from edges_of
order by parameter_group, node
