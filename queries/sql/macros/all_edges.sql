-- All edges with the contributions that follow from gradients; tensors and
-- graph are for the view edges to find.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, vertices
-- unit:   contribution: derivative times the gradient of dst, in the store's
--         dtype
create macro all_edges() as table
select
    e.sample, e.src, e.dst, e.slot, e.derivative,
    e.derivative * v.gradient as contribution
from stored.edges as e
join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
