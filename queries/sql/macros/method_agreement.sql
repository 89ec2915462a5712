-- How far each two methods of the store agree on the components of a sample.
-- grain:  one row per (sample, parameter_group, component, method, other)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- unit:   edge_share, other_share: of the path edges of the group, null for a
--         method without a traced path there; distance: total variation, 0
--         alike, 1 disjoint; correlation: Spearman over the components that
--         some method of the store meets, null where one side ties all; both
--         are of the whole (sample, parameter_group)
create macro method_agreement() as table
with shares as (
    select m.method, i.sample, i.parameter_group, i.component, i.edge_share
    from (select distinct method from stored.path_totals) as m
    cross join sample_importance(m.method) as i
),

met as (
    select
        *,
        max(edge_share) over (
            partition by sample, parameter_group, component
        ) > 0 as is_met
    from shares
),

-- twice the mean rank of ties: the first place they take plus the last
ranked as (
    select *, rank() over by_share + count(*) over by_share as twice_rank
    from met
    window by_share as (
        partition by method, sample, parameter_group, is_met
        order by round(edge_share, 12)
    )
)

select
    a.sample, a.parameter_group, a.component, a.method, b.method as other,
    a.edge_share, b.edge_share as other_share,
    sum(abs(a.edge_share - b.edge_share)) over g / 2 as distance,
    nullif(
        corr(a.twice_rank, b.twice_rank) filter (
            where a.is_met
                and a.edge_share is not null
                and b.edge_share is not null
        ) over g,
        'nan'::double
    ) as correlation
from ranked as a
join ranked as b
    on b.sample = a.sample
    and b.parameter_group = a.parameter_group
    and b.component is not distinct from a.component
    and b.method > a.method
window g as (
    partition by a.sample, a.parameter_group, a.method, b.method
)
