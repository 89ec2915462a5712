-- How many paths of each parameter group run over every vertex of a sample:
-- from where they enter the graph they are pushed along the best edges, level
-- by level. That is also how many of their edges lead to the vertex. Entries
-- are of paths that reach the loss, so all of these edges carry something.
-- grain:  one row per (parameter_group, vertex)
-- reads:  entries, best_edges
-- unit:   paths; gradient_l1 counts each by its parameter's |gradient|
-- param:  in_sample bigint  sample
-- param:  in_method varchar  method of one path
-- param:  in_by_group boolean = true  else one row per vertex, of all groups
create macro path_mass(in_sample, in_method, in_by_group := true) as table
with recursive chosen as materialized (
    select src, dst
    from stored.best_edges
    where method = in_method
        and sample = in_sample
        and rank = 1
        and src >= n_parameters()
),

level as (
    select
        case when in_by_group then parameter_group end as parameter_group,
        vertex, sum(paths) as paths, sum(gradient_l1) as gradient_l1
    from stored.entries
    where method = in_method and sample = in_sample
    group by all
    union all
    select
        l.parameter_group, t.dst as vertex,
        sum(l.paths) as paths, sum(l.gradient_l1) as gradient_l1
    from level as l
    join chosen as t on t.src = l.vertex
    group by l.parameter_group, t.dst
)

select
    parameter_group, vertex,
    sum(paths) as paths, sum(gradient_l1) as gradient_l1
from level
group by parameter_group, vertex
