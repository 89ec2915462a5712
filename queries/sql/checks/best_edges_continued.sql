-- best_edges: scores of products over paths continue the best one of their
-- target
-- reads:  best_edges, vertices, samples, graphs
-- param:  $tolerance double  of 1 + |score|
-- unit:   edges; floats are compared in a filter of the count, for DuckDB
--         answers a plain `where` from the statistics of a file, which leave
--         nan out, so that nan would pass
with by_logarithms as materialized (
    select * from scored_edges() where not ranks_by_contribution(method)
),

continued as (
    select * from continued_scores('by_logarithms')
),

broken as (
    select
        count(*) filter (
            where not abs(e.continued - b.score)
                <= $tolerance * (1 + abs(b.score))
        ) as broken
    from continued as e
    join by_logarithms as b using (method, sample, src, dst, slot)
)

select * from broken
