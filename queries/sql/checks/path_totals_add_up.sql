-- path_totals: parameters = traced + dead + absent, for every group of every
-- recorded sample
-- reads:  path_totals, parameter_groups, samples
-- unit:   rows of path_totals, and those that are missing
with wrong as (
    select t.sample
    from stored.path_totals as t
    left join parameter_groups as g using (parameter_group)
    where t.parameters <> t.traced + t.dead + t.absent
        or t.parameters is distinct from g.size
),

missing as (
    select s.sample
    from samples as s
    cross join parameter_groups as g
    anti join stored.path_totals as t
        on t.sample = s.sample and t.parameter_group = g.parameter_group
    where s.status = 'ok'
),

broken as (
    select
        (select count(*) from wrong) + (select count(*) from missing) as broken
)

select * from broken
