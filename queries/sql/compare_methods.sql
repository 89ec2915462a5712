-- How far the methods agree on the components: the share of path edges under
-- each of them, and how far any two of them are apart.
-- grain:  one row per (sample, parameter_group, component)
-- reads:  path_edges, nodes
-- unit:   shares of the path edges of one (sample, parameter_group), null for a
--         method that has none there; distance: total variation, 0 alike, 1
--         disjoint; correlation: Spearman, null where one side ties all;
--         both are of the whole (sample, parameter_group) and stand in each of
--         its rows; components that no method meets are left out
with component_edges as (
    select
        e.method, e.sample, e.parameter_group, n.component,
        sum(e.edges) as edges
    from path_edges as e
    join nodes as n on n.graph = e.graph and n.node = e.node
    group by all
),

shares as (
    select *, edges / sum(edges) over g as share
    from component_edges
    window g as (partition by method, sample, parameter_group)
),

met as (
    select
        sample, parameter_group, component,
        max(share) filter (where method = 'greedy') as greedy,
        max(share) filter (where method = 'product') as product,
        max(share) filter (where method = 'soft') as soft
    from shares
    group by all
),

side_by_side as (
    select
        sample, parameter_group, component,
        case when max(greedy) over g > 0 then coalesce(greedy, 0) end
            as greedy,
        case when max(product) over g > 0 then coalesce(product, 0) end
            as product,
        case when max(soft) over g > 0 then coalesce(soft, 0) end as soft
    from met
    window g as (partition by sample, parameter_group)
),

-- twice the mean rank of ties: the first place they take plus the last
ranked as (
    select
        *,
        rank() over by_greedy + count(*) over by_greedy as greedy_rank,
        rank() over by_product + count(*) over by_product as product_rank,
        rank() over by_soft + count(*) over by_soft as soft_rank
    from side_by_side
    window
        g as (partition by sample, parameter_group),
        by_greedy as (g order by round(greedy, 12)),
        by_product as (g order by round(product, 12)),
        by_soft as (g order by round(soft, 12))
),

agreement as (
    select
        sample, parameter_group, component, greedy, product, soft,
        sum(abs(greedy - product)) over g / 2
            as greedy_product_distance,
        sum(abs(greedy - soft)) over g / 2
            as greedy_soft_distance,
        sum(abs(product - soft)) over g / 2
            as product_soft_distance,
        nullif(corr(greedy_rank, product_rank) over g, 'nan'::double)
            as greedy_product_correlation,
        nullif(corr(greedy_rank, soft_rank) over g, 'nan'::double)
            as greedy_soft_correlation,
        nullif(corr(product_rank, soft_rank) over g, 'nan'::double)
            as product_soft_correlation
    from ranked
    window g as (partition by sample, parameter_group)
)

select * from agreement
order by sample, parameter_group, greedy desc, component
