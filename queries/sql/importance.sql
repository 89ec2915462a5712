-- How much of the paths of each parameter group each default component carries.
-- A component of the sample's graph that no path meets has a row of zeros.
-- grain:  one row per (sample, parameter_group, component)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges, paths; edge_share of one (sample, parameter_group) sums to 1;
--         weighted columns count each parameter by its absolute gradient;
--         shares and rates are null where no path of the group is traced
with importance as (
    select * from sample_importance($method)
)

select * from importance
order by sample, parameter_group, edges desc, component
