-- The best edges with the numbers that follow from gradients; tensors and graph
-- are for the view best_edges to find.
-- grain:  one row per (method, sample, src, rank)
-- reads:  best_edges, vertices
-- unit:   contribution: derivative times the gradient of dst, in the store's
--         dtype; score: null where the edge carries nothing
create macro scored_edges() as table
select
    e.method, e.sample, e.src, e.rank, e.dst, e.slot, e.derivative,
    e.derivative * v.gradient as contribution,
    score(e.method, e.derivative * v.gradient, e.score) as score
from stored.best_edges as e
join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
