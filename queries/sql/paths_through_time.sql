-- Along which components the paths run from one time step to another: along an
-- LSTM's memory cell, or from its hidden state into the gates.
-- grain:  one row per (sample, from_component, to_component)
-- reads:  entries, best_edges, samples, tensors, nodes
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  a method of one path
-- unit:   edges between two steps, of the paths of all parameters; shares sum
--         to 1; weighted: each path counts by its parameter's |gradient|
with stepped as materialized (
    select
        b.block, b.first_vertex, b.behind, b.tensor, n.component, n.step
    from tensor_blocks() as b
    join nodes as n on n.graph = b.graph and n.node = b.node
    where b.sample = $sample and n.step is not null
),

edges_between as (
    select
        a.component as from_component, b.component as to_component,
        sum(m.paths) as edges, sum(m.gradient_l1) as weighted_edges
    from path_mass($sample, $method, in_by_group := false) as m
    join stepped as a
        on a.block = activation_block(m.vertex)
        and m.vertex >= a.first_vertex
        and m.vertex < a.behind
    join stored.best_edges as t
        on t.src = m.vertex
        and t.sample = $sample
        and t.method = $method
        and t.rank = 1
    join stepped as b
        on b.block = activation_block(t.dst)
        and t.dst >= b.first_vertex
        and t.dst < b.behind
    where a.step <> b.step
    group by all
),

paths_through_time as (
    select
        $sample as sample, from_component, to_component, edges,
        edges / sum(edges) over () as edge_share,
        weighted_edges / sum(weighted_edges) over () as weighted_edge_share
    from edges_between
)

select * from paths_through_time
order by edges desc, from_component, to_component
