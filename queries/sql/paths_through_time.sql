-- Along which components the paths run from one time step to another: along an
-- LSTM's memory cell, or from its hidden state into the gates.
-- grain:  one row per (sample, from_component, to_component)
-- reads:  entries, best_edges, samples, tensors, nodes
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  a method of one path
-- unit:   edges between two steps, of the paths of all parameters; shares sum
--         to 1; weighted: each path counts by its parameter's |gradient|
with edges_between as (
    select
        t.src_tensor, t.dst_tensor,
        sum(m.paths) as edges, sum(m.gradient_l1) as weighted_edges
    from path_mass($sample, $method, in_by_group := false) as m
    join traced_edges($sample, $method) as t on t.src = m.vertex
    where t.src >= n_parameters()
    group by all
),

stepped as (
    select t.tensor, n.component, n.step
    from tensors as t
    join nodes as n on n.graph = t.graph and n.node = t.node
    where n.step is not null
        and t.graph = (select graph from samples where sample = $sample)
),

crossings as (
    select
        $sample as sample, a.component as from_component,
        b.component as to_component,
        sum(e.edges) as edges, sum(e.weighted_edges) as weighted_edges
    from edges_between as e
    join stepped as a on a.tensor = e.src_tensor
    join stepped as b on b.tensor = e.dst_tensor
    where a.step <> b.step
    group by all
),

paths_through_time as (
    select
        sample, from_component, to_component, edges,
        edges / sum(edges) over () as edge_share,
        weighted_edges / sum(weighted_edges) over () as weighted_edge_share
    from crossings
)

select * from paths_through_time
order by edges desc, from_component, to_component
