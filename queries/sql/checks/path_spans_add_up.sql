-- path_spans: by the token they lead from they are the entries, and together
-- the traced paths
-- reads:  path_spans, path_totals, entries, samples, tensors, nodes
-- param:  $tolerance double  of the paths
-- param:  $tiny double  of weights, below which the store's dtype loses digits
-- unit:   tokens of a parameter group, and parameter groups
with entered as (
    select
        e.method, e.sample, e.parameter_group,
        step_at(
            e.vertex - t.first_vertex, t.step, t.first_step, t.stride, t.length
        ) as entry_step,
        sum(e.paths) as paths, sum(e.gradient_l1) as weighted_paths
    from entries as e
    asof join token_places() as t
        on t.graph = e.graph and e.vertex >= t.first_vertex
    group by all
),

spanned as (
    select
        method, sample, parameter_group, entry_step,
        sum(paths) as paths, sum(weighted_paths) as weighted_paths
    from path_spans
    where paths > 0
    group by all
),

wrong as (
    select e.sample
    from entered as e
    full join spanned as s
        on s.method = e.method
        and s.sample = e.sample
        and s.parameter_group = e.parameter_group
        and s.entry_step is not distinct from e.entry_step
    where not coalesce(
        abs(e.paths - s.paths) <= $tolerance * e.paths
        and abs(e.weighted_paths - s.weighted_paths)
            <= $tolerance * e.weighted_paths + $tiny,
        false
    )
),

traced as (
    select
        method, sample, parameter_group,
        sum(paths) as paths, sum(weighted_paths) as weighted_paths
    from spanned
    group by all
),

untraced as (
    select p.sample
    from path_totals as p
    left join traced as t using (method, sample, parameter_group)
    where not abs(p.traced - coalesce(t.paths, 0)) <= $tolerance * p.traced
        or not abs(p.traced_gradient_l1 - coalesce(t.weighted_paths, 0))
            <= $tolerance * p.traced_gradient_l1 + $tiny
),

none as (
    select sample from path_spans where not paths > 0
),

broken as (
    select
        (select count(*) from wrong)
        + (select count(*) from untraced)
        + (select count(*) from none) as broken
)

select * from broken
