-- The scores that edges have if scores are products over paths: their own
-- factor times the best product from their target on.
-- grain:  one row per (method, sample, src, dst, slot)
-- reads:  best_edges, vertices, samples, graphs
-- unit:   base-2 logarithms; edges with a factor of 0, or too small for the
--         store's dtype, are left out
-- param:  in_edges varchar  name of a table or CTE with the columns of edges
--         and method
create macro continued_scores(in_edges) as table
with best_of_target as (
    select method, sample, src as vertex, score
    from stored.best_edges
    where rank = 1 and not ranks_by_contribution(method)
    union all
    select distinct b.method, b.sample, g.loss_vertex as vertex, 0 as score
    from stored.best_edges as b
    join stored.samples as s on s.sample = b.sample
    join graphs as g on g.graph = s.graph
)

select
    e.method, e.sample, e.src, e.dst, e.slot,
    b.score + log2(
        nullif(
            abs(
                edge_weight(
                    e.method, e.derivative, e.contribution, v.contribution_l1
                )
            ),
            0
        )
    ) as continued
from query_table(in_edges) as e
join best_of_target as b
    on b.method = e.method and b.sample = e.sample and b.vertex = e.dst
join stored.vertices as v on v.sample = e.sample and v.vertex = e.src
where b.score is not null
    and edge_weight(
        e.method, e.derivative, e.contribution, v.contribution_l1
    ) is not null
