-- The paths of all parameters of a sample at once, from the traced edges alone:
-- how many edges of each parameter's paths every operator computes.
-- grain:  one row per (parameter, node)
-- reads:  best_edges, vertices, graphs, samples, tensors
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  a method of one path
-- unit:   edges; paths that die before the loss are left out
with recursive recorded as (
    select g.*
    from samples as s
    join graphs as g using (graph)
    where s.sample = $sample
),

carrying as materialized (
    select * from carrying_edges($sample, $method)
),

starts as materialized (
    select t.tensor as parameter, e.dst as vertex, count(*)::double as paths
    from carrying as e
    join tensor_blocks() as t
        on t.sample = $sample
        and t.block = vertex_block(e.src)
        and e.src >= t.first_vertex
        and e.src < t.behind
    where e.src < n_parameters()
    group by all
),

onward as materialized (
    select src, dst from carrying where src >= n_parameters()
),

alive as (
    select loss_vertex as vertex from recorded
    union all
    select t.src as vertex
    from alive as a
    join onward as t on t.dst = a.vertex
),

mass as (
    select s.parameter, s.vertex, s.paths
    from starts as s
    join alive as a on a.vertex = s.vertex
    union all
    select m.parameter, t.dst as vertex, sum(m.paths) as paths
    from mass as m
    join onward as t on t.src = m.vertex
    group by m.parameter, t.dst
),

edges_into as (
    select parameter, vertex, sum(paths) as edges
    from mass
    group by all
),

edges_of as (
    select p.name as parameter, o.node, sum(e.edges) as edges
    from edges_into as e
    join recorded as r on true
    join tensors as p on p.graph = r.graph and p.tensor = e.parameter
    join tensor_blocks() as o
        on o.sample = $sample
        and o.block = activation_block(e.vertex)
        and e.vertex >= o.first_vertex
        and e.vertex < o.behind
    group by all
)

select * from edges_of
order by parameter, node
