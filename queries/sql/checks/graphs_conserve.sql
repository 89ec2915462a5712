-- graphs: conservation, measured by the dump on the first sample
-- reads:  graphs
-- param:  $tolerance double  of the sum of |contributions|
-- unit:   graphs
with broken as (
    select
        count(*) filter (where not conservation_error <= $tolerance) as broken
    from graphs
)

select * from broken
