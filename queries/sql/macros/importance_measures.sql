-- Shares and rates of counts: the measures of importance.
-- grain:  one row per row of the counts
-- unit:   edges, paths; shares of one (sample, parameter_group) sum to 1, and
--         are null where the components are no partition; rates are per traced
--         path; both are null where nothing is traced; weighted: each path by
--         its parameter's |gradient|
-- param:  in_counts varchar  name of a table or CTE with the columns of
--         importance_counts, or others in place of component
create macro importance_measures(in_counts) as table
select
    * exclude (
        edges, weighted_edges, paths, weighted_paths, traced, dead, absent,
        traced_gradient_l1, is_partition
    ),
    edges, paths, traced::bigint as traced, dead::bigint as dead,
    absent::bigint as absent,
    case
        when bool_and(is_partition) over ()
            then edges / nullif(sum(edges) over g, 0)
    end as edge_share,
    edges / nullif(traced, 0) as mean_edges,
    paths / nullif(traced, 0) as path_rate,
    weighted_edges, weighted_paths,
    case
        when bool_and(is_partition) over ()
            then weighted_edges / nullif(sum(weighted_edges) over g, 0)
    end as weighted_edge_share,
    weighted_edges / nullif(traced_gradient_l1, 0) as weighted_mean_edges,
    weighted_paths / nullif(traced_gradient_l1, 0) as weighted_path_rate
from query_table(in_counts)
window g as (partition by sample, parameter_group)
