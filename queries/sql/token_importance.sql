-- Through which tokens of a sample the paths of each parameter group run. The
-- step of an edge is its operator's, else that along an axis named 'step': the
-- place of a token in the tokens of the sample, where those of a decoder follow
-- on those of the source.
-- grain:  one row per (parameter_group, step)
-- reads:  entries, best_edges, samples, tensors, nodes
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  one of greedy, product: which paths
-- unit:   edges; shares of one parameter_group sum to 1; edges that belong to
--         no step are the row whose step is null
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

recorded as (
    select graph, tokens from samples where sample = $sample
),

edges_into as (
    select
        parameter_group, vertex,
        sum(paths) as edges, sum(gradient_l1) as weighted_edges
    from mass
    group by parameter_group, vertex
),

owners as (
    select
        t.first_vertex, t.first_vertex + t.size as end_vertex, n.step, t.shape,
        t.first_step, list_position(t.axis_names, 'step') as axis
    from tensors as t
    join recorded as r using (graph)
    left join nodes as n on n.graph = t.graph and n.node = t.node
    where t.first_vertex is not null
),

edges_at as (
    select
        e.parameter_group,
        coalesce(
            o.step,
            o.first_step
            + axis_index(e.vertex - o.first_vertex, o.shape, o.axis)
        ) as step,
        sum(e.edges) as edges,
        sum(e.weighted_edges) as weighted_edges
    from edges_into as e
    join owners as o
        on o.first_vertex <= e.vertex and e.vertex < o.end_vertex
    group by all
),

token_importance as (
    select
        e.parameter_group, e.step, r.tokens[e.step + 1] as token, e.edges,
        e.edges / sum(e.edges) over g as edge_share,
        e.weighted_edges,
        e.weighted_edges / sum(e.weighted_edges) over g as weighted_edge_share
    from edges_at as e
    join recorded as r on true
    window g as (partition by e.parameter_group)
)

select * from token_importance
order by parameter_group, step
