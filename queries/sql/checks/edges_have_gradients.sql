-- {table}: vertices has the gradient of every target, of which contributions
-- are made
-- reads:  vertices
-- tables: best_edges, edges
-- param:  $table varchar  table
-- unit:   edges
with broken as (
    select count(*) as broken
    from query_table($table) as e
    anti join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
)

select * from broken
