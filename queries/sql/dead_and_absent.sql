-- Which parameters take no part: how many of each group reach the loss, meet a
-- vertex without gradient, or have no edge at all.
-- grain:  one row per (sample, parameter_group)
-- reads:  path_totals
-- param:  $method varchar = 'greedy'  which paths
-- unit:   parameters; shares are of the group's parameters
with totals as (
    select
        sample, parameter_group, parameters, traced, dead, absent,
        traced / parameters as traced_share,
        dead / parameters as dead_share,
        absent / parameters as absent_share
    from stored.path_totals
    where method = $method
)

select * from totals
order by sample, dead_share + absent_share desc, parameter_group
