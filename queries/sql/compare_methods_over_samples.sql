-- How far the methods agree on the components, over samples: the mean share of
-- path edges under each two of them, and how far they are apart on average.
-- grain:  one row per (parameter_group, component, method, other)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- unit:   columns as in compare_methods; means over the samples that have a
--         value; samples: those whose graph has the component; distance and
--         correlation are of the whole parameter_group and stand in each of
--         its rows
with agreement as materialized (
    select * from method_agreement()
),

by_group as (
    select
        parameter_group, method, other,
        avg(distance) as distance, avg(correlation) as correlation
    from (
        select distinct
            sample, parameter_group, method, other, distance, correlation
        from agreement
    )
    group by all
),

by_component as (
    select
        parameter_group, component, method, other,
        count(*) as samples,
        avg(edge_share) as edge_share, avg(other_share) as other_share
    from agreement
    group by all
),

over_samples as (
    select c.*, g.distance, g.correlation
    from by_component as c
    join by_group as g using (parameter_group, method, other)
)

select * from over_samples
order by parameter_group, method, other, edge_share desc, component
