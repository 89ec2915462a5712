-- How many path edges each role of operators in their module receives from
-- each parameter group.
-- grain:  one row per (sample, parameter_group, role)
-- reads:  path_edges, nodes
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges; shares of one (sample, parameter_group) sum to 1; operators
--         without one are the row whose role is null
with edges_by_role as (
    select
        e.sample, e.parameter_group, n.role,
        sum(e.edges) as edges,
        sum(e.weighted_edges) as weighted_edges
    from path_edges as e
    join nodes as n on n.graph = e.graph and n.node = e.node
    where e.method = $method
    group by all
),

shares as (
    select
        *,
        edges / sum(edges) over g as edge_share,
        weighted_edges / sum(weighted_edges) over g as weighted_edge_share
    from edges_by_role
    window g as (partition by sample, parameter_group)
)

select * from shares
order by sample, parameter_group, role
