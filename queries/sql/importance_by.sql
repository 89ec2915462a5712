-- How many path edges each value of a column of operators receives from each
-- parameter group: by layer, step, role, ...
-- grain:  one row per (sample, parameter_group, value)
-- reads:  path_edges, nodes
-- param:  $column varchar = 'layer'  one of layer, step, role, module, op_type,
--         component
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges; shares of one (sample, parameter_group) sum to 1; operators
--         without a value are the row whose value is null
with edges_by_value as (
    select
        e.sample, e.parameter_group,
        case $column
            when 'layer' then n.layer::varchar
            when 'step' then n.step::varchar
            when 'role' then n.role
            when 'module' then n.module
            when 'op_type' then n.op_type
            when 'component' then n.component
        end as value,
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
    from edges_by_value
    window g as (partition by sample, parameter_group)
)

select * from shares
order by sample, parameter_group, try_cast(value as bigint), value
