-- How many path edges each value of a column of operators receives from each
-- parameter group: by layer, step, role, ... A value of the sample's graph that
-- no path meets has a row of zeros.
-- grain:  one row per (sample, parameter_group, value)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- param:  $column varchar = 'layer'  one of layer, step, role, module, op_type,
--         component
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges; shares of one (sample, parameter_group) sum to 1; operators
--         without a value are the row whose value is null
with importance as (
    select
        sample, parameter_group, component as value,
        edges, weighted_edges, edge_share, weighted_edge_share
    from sample_importance($method, in_column := $column)
)

select * from importance
order by sample, parameter_group, try_cast(value as bigint), value
