-- How much of the paths of each parameter group each default component carries.
-- grain:  one row per (sample, parameter_group, component)
-- reads:  path_edges, path_counts, path_totals, nodes
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges, paths; edge_share of one (sample, parameter_group) sums to 1;
--         weighted columns count each parameter by its absolute gradient
with component_edges as (
    select
        e.sample, e.parameter_group, n.component,
        sum(e.edges) as edges,
        sum(e.weighted_edges) as weighted_edges
    from path_edges as e
    join nodes as n on n.graph = e.graph and n.node = e.node
    where e.method = $method
    group by all
),

importance as (
    select
        e.sample, e.parameter_group, e.component,
        e.edges, c.paths, t.traced, t.dead, t.absent,
        e.edges / sum(e.edges) over g as edge_share,
        e.edges / t.traced as mean_edges,
        c.paths / t.traced as path_rate,
        e.weighted_edges, c.weighted_paths,
        e.weighted_edges / sum(e.weighted_edges) over g
            as weighted_edge_share,
        e.weighted_edges / t.traced_gradient_l1 as weighted_mean_edges,
        c.weighted_paths / t.traced_gradient_l1 as weighted_path_rate
    from component_edges as e
    join path_counts as c
        on c.method = $method
        and c.sample = e.sample
        and c.parameter_group = e.parameter_group
        and c.component = e.component
    join path_totals as t
        on t.method = $method
        and t.sample = e.sample
        and t.parameter_group = e.parameter_group
    window g as (partition by e.sample, e.parameter_group)
)

select * from importance
order by sample, parameter_group, edges desc, component
