-- How far the methods agree on the components: the share of path edges under
-- each two of them, and how far the two are apart.
-- grain:  one row per (sample, parameter_group, component, method, other)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- unit:   edge_share is of method, other_share of other: shares of the path
--         edges of one (sample, parameter_group), null for a method that has
--         none there; distance: total variation, 0 alike, 1 disjoint;
--         correlation: Spearman over the components that some method meets,
--         null where one side ties all; both are of the whole
--         (sample, parameter_group) and stand in each of its rows
with agreement as (
    select * from method_agreement()
)

select * from agreement
order by sample, parameter_group, method, other, edge_share desc, component
