-- best_edges: vertices has the gradient of every target, of which contributions
-- are made
-- reads:  best_edges, vertices
-- unit:   edges
with broken as (
    select count(*) as broken
    from stored.best_edges as e
    anti join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
)

select * from broken
