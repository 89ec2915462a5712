-- Through which tokens of a sample the paths of each parameter group run. The
-- step of an edge is its operator's, else that along an axis named 'step': the
-- place of a token in the tokens of the sample, where those of a decoder follow
-- on those of the source.
-- grain:  one row per (parameter_group, step)
-- reads:  entries, best_edges, samples, tensors, nodes
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  a method of one path
-- unit:   edges; shares of one parameter_group sum to 1; edges that belong to
--         no step are the row whose step is null
with recorded as (
    select graph, tokens from samples where sample = $sample
),

edges_at as (
    select
        e.parameter_group,
        step_at(
            e.vertex - t.first_vertex, t.step, t.first_step, t.stride, t.length
        ) as step,
        sum(e.paths) as edges,
        sum(e.gradient_l1) as weighted_edges
    from path_mass($sample, $method) as e
    asof join token_places() as t
        on t.graph = (select graph from recorded)
        and e.vertex >= t.first_vertex
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
