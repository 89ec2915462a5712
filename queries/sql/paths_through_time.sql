-- Along which components the paths run from one time step to another: along an
-- LSTM's memory cell, or from its hidden state into the gates.
-- grain:  one row per (sample, from_component, to_component)
-- reads:  path_links, samples, nodes
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges between two steps, of the paths of all parameters; shares sum
--         to 1; weighted: each path counts by its parameter's |gradient|
with crossings as (
    select
        l.sample, a.component as from_component, b.component as to_component,
        sum(l.edges) as edges, sum(l.weighted_edges) as weighted_edges
    from path_links as l
    join nodes as a on a.graph = l.graph and a.node = l.from_node
    join nodes as b on b.graph = l.graph and b.node = l.to_node
    where l.sample = $sample and l.method = $method and a.step <> b.step
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
