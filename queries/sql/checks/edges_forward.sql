-- {table}: edges lead from a smaller vertex to a larger one
-- reads:  samples, graphs
-- tables: best_edges, edges
-- param:  $table varchar  table
-- unit:   edges
with broken as (
    select count(*) as broken
    from query_table($table) as e
    join stored.samples as s on s.sample = e.sample
    join graphs as g on g.graph = s.graph
    where e.dst <= e.src
        or e.src < 0
        or e.dst >= g.n_vertices
        or e.dst < g.n_parameters
)

select * from broken
