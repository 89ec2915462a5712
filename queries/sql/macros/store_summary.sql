-- How much a store holds.
-- grain:  one row
-- reads:  samples, graphs
-- unit:   failed: samples that were not recorded; tokens of the recorded ones;
--         vertices of the largest graph; edges of all samples
create macro store_summary() as table
with counted as (
    select
        count(*) filter (where status = 'ok') as recorded,
        count(*) filter (where status <> 'ok') as failed,
        coalesce(sum(n_tokens) filter (where status = 'ok'), 0)::bigint
            as tokens,
        coalesce(sum(seconds), 0) as seconds,
        coalesce(sum(n_edges), 0)::bigint as edges
    from samples
),

structure as (
    select
        count(*) as graphs,
        max(n_parameters) as parameters,
        max(n_vertices) as vertices,
        max(conservation_error) as conservation_error
    from graphs
)

select * from counted cross join structure
