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

-- the index along the axis of steps is (flat index // stride) % length
owners as materialized (
    select
        b.block, b.first_vertex, b.behind, n.step, t.first_step,
        list_position(t.axis_names, 'step') as axis,
        coalesce(list_product(t.shape[axis + 1:]), 1)::bigint as stride,
        t.shape[axis] as length
    from tensor_blocks() as b
    join tensors as t on t.graph = b.graph and t.tensor = b.tensor
    left join nodes as n on n.graph = b.graph and n.node = b.node
    where b.sample = $sample
),

edges_at as (
    select
        e.parameter_group,
        coalesce(
            o.step,
            o.first_step + (e.vertex - o.first_vertex) // o.stride % o.length
        ) as step,
        sum(e.paths) as edges,
        sum(e.gradient_l1) as weighted_edges
    from path_mass($sample, $method) as e
    join owners as o
        on o.block = activation_block(e.vertex)
        and e.vertex >= o.first_vertex
        and e.vertex < o.behind
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
