-- parameter_groups: their sizes sum to the parameters
-- reads:  graphs, parameter_groups
-- unit:   graphs
with broken as (
    select count(*) as broken
    from graphs
    where n_parameters <> (select sum(size) from parameter_groups)
)

select * from broken
