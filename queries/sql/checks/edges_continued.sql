-- best_edges: no edge leads to a better product over a path than rank 1
-- reads:  edges, edge_matrices, matrix_derivatives, best_edges, vertices,
--         samples, graphs
-- needs:  all
-- param:  $tolerance double  of 1 + |score|
-- unit:   edges
with candidates as (
    select m.method, e.*
    from all_edges() as e
    cross join (select distinct method from stored.best_edges) as m
),

continued as (
    select * from continued_scores('candidates')
),

broken as (
    select
        count(*) filter (
            where not e.continued <= coalesce(
                b.score + $tolerance * (1 + abs(b.score)), '-inf'
            )
        ) as broken
    from continued as e
    left join stored.best_edges as b
        on b.method = e.method
        and b.sample = e.sample
        and b.src = e.src
        and b.rank = 1
)

select * from broken
