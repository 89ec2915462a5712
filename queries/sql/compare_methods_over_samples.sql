-- How far the methods agree on the components, over samples: the mean share of
-- path edges under each, and how far any two are apart on average.
-- grain:  one row per (parameter_group, component)
-- reads:  path_edges, nodes
-- unit:   means over the samples that have paths of the group, in which a
--         component that a sample lacks counts as 0; columns as in
--         compare_methods; those of two methods are of the whole
--         parameter_group and stand in each of its rows
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
        sample, parameter_group,
        count(greedy) > 0 as has_greedy,
        count(product) > 0 as has_product,
        count(soft) > 0 as has_soft,
        sum(abs(greedy - product)) / 2
            as greedy_product_distance,
        sum(abs(greedy - soft)) / 2
            as greedy_soft_distance,
        sum(abs(product - soft)) / 2
            as product_soft_distance,
        nullif(corr(greedy_rank, product_rank), 'nan'::double)
            as greedy_product_correlation,
        nullif(corr(greedy_rank, soft_rank), 'nan'::double)
            as greedy_soft_correlation,
        nullif(corr(product_rank, soft_rank), 'nan'::double)
            as product_soft_correlation
    from ranked
    group by sample, parameter_group
),

over_samples as (
    select
        parameter_group,
        count(*) as samples,
        nullif(count(*) filter (where has_greedy), 0) as n_greedy,
        nullif(count(*) filter (where has_product), 0) as n_product,
        nullif(count(*) filter (where has_soft), 0) as n_soft,
        avg(greedy_product_distance) as greedy_product_distance,
        avg(greedy_soft_distance) as greedy_soft_distance,
        avg(product_soft_distance) as product_soft_distance,
        avg(greedy_product_correlation) as greedy_product_correlation,
        avg(greedy_soft_correlation) as greedy_soft_correlation,
        avg(product_soft_correlation) as product_soft_correlation
    from agreement
    group by parameter_group
),

by_component as (
    select
        r.parameter_group, r.component, any_value(o.samples) as samples,
        sum(r.greedy) / any_value(o.n_greedy) as greedy,
        sum(r.product) / any_value(o.n_product) as product,
        sum(r.soft) / any_value(o.n_soft) as soft,
        any_value(columns(o.* exclude (
            parameter_group, samples, n_greedy, n_product, n_soft
        )))
    from ranked as r
    join over_samples as o using (parameter_group)
    group by r.parameter_group, r.component
)

select * from by_component
order by parameter_group, greedy desc, component
