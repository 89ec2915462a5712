-- best_edges: scores of products over paths continue the best one of their
-- target
-- reads:  best_edges, vertices, graphs
-- param:  $tolerance double  of 1 + |score|
-- unit:   edges; floats are compared in a filter of the count, for DuckDB
--         answers a plain `where` from the statistics of a file, which leave
--         nan out, so that nan would pass
with continued as (
    select * from continued_scores('best_edges')
),

broken as (
    select
        count(*) filter (
            where not abs(e.continued - b.score)
                <= $tolerance * (1 + abs(b.score))
        ) as broken
    from continued as e
    join best_edges as b using (method, sample, src, dst, slot)
)

select * from broken
