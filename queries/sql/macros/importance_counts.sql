-- What the paths of a method count in each component of a sample's graph. A
-- component that no path of a group meets has a row of zeros.
-- grain:  one row per (sample, parameter_group, component)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- unit:   edges, paths; weighted: each by its parameter's |gradient|; paths are
--         null by other columns than component, for which they are not stored
-- param:  in_method varchar  method
-- param:  in_by_group boolean = true  else parameter_group is null, and a row
--         is of all parameters
-- param:  in_column varchar = 'component'  the column of nodes that stands in
--         the column component; null: a row is of the whole graph
-- param:  in_sample bigint = null  one sample only
create macro importance_counts(
    in_method,
    in_by_group := true,
    in_column := 'component',
    in_sample := null
) as table
with operators as materialized (
    -- one number to join by is three times as fast as two
    select
        n.graph, n.graph::bigint * 4294967296 + n.node as place,
        case in_column
            when 'component' then n.component
            when 'module' then n.module
            when 'role' then n.role
            when 'layer' then n.layer::varchar
            when 'step' then n.step::varchar
            when 'op_type' then n.op_type
        end as component
    from nodes as n
    semi join (
        select graph, node from tensors
        where first_vertex is not null and size > 0
    ) as t on t.graph = n.graph and t.node = n.node
),

present as (select distinct graph, component from operators),

totals as (
    select
        sample,
        case when in_by_group then parameter_group end as parameter_group,
        sum(traced)::double as traced,
        sum(dead)::double as dead,
        sum(absent)::double as absent,
        sum(traced_gradient_l1) as traced_gradient_l1
    from stored.path_totals
    where method = in_method and (in_sample is null or sample = in_sample)
    group by all
),

component_edges as (
    select
        e.sample,
        case when in_by_group then e.parameter_group end as parameter_group,
        o.component,
        sum(e.edges) as edges, sum(e.weighted_edges) as weighted_edges
    from stored.path_edges as e
    join stored.samples as s on s.sample = e.sample
    join operators as o on o.place = s.graph::bigint * 4294967296 + e.node
    where e.method = in_method
        and (in_sample is null or e.sample = in_sample)
    group by all
),

component_paths as (
    select
        sample,
        case when in_by_group then parameter_group end as parameter_group,
        component,
        sum(paths) as paths, sum(weighted_paths) as weighted_paths
    from stored.path_counts
    where method = in_method
        and in_column = 'component'
        and (in_sample is null or sample = in_sample)
    group by all
)

select
    t.sample, t.parameter_group, p.component,
    coalesce(e.edges, 0) as edges,
    coalesce(e.weighted_edges, 0) as weighted_edges,
    case
        when in_column is null then t.traced
        when in_column = 'component' then coalesce(c.paths, 0)
    end as paths,
    case
        when in_column is null then t.traced_gradient_l1
        when in_column = 'component' then coalesce(c.weighted_paths, 0)
    end as weighted_paths,
    t.traced, t.dead, t.absent, t.traced_gradient_l1, true as is_partition
from totals as t
join samples as s on s.sample = t.sample
join present as p on p.graph = s.graph
left join component_edges as e
    on e.sample = t.sample
    and e.parameter_group is not distinct from t.parameter_group
    and e.component is not distinct from p.component
left join component_paths as c
    on c.sample = t.sample
    and c.parameter_group is not distinct from t.parameter_group
    and c.component is not distinct from p.component
