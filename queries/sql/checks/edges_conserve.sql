-- edges: the contributions of every vertex sum to its gradient
-- reads:  edges, edge_matrices, matrix_derivatives, vertices, samples, graphs,
--         tensors, nodes
-- needs:  all
-- param:  $tolerance double  of the sum of |contributions|
-- param:  $noise double  of the derivatives of $cancelling operators
-- param:  $tiny double  of every contribution
-- param:  $cancelling varchar[]  operators, by type
-- unit:   vertices
with cancelling as (
    select b.sample, b.block, b.first_vertex, b.behind
    from tensor_blocks() as b
    join nodes as n on n.graph = b.graph and n.node = b.node
    where list_contains($cancelling, n.op_type)
),

sums as (
    select
        sample, src as vertex,
        sum(contribution::double) as total,
        sum(abs(contribution::double)) as size,
        count(*) * $tiny as tiny
    from all_edges()
    group by all
),

noises as (
    select e.sample, e.src as vertex, sum(abs(v.gradient::double)) as size
    from stored.edges as e
    join cancelling as c
        on c.sample = e.sample
        and c.block = activation_block(e.dst)
        and e.dst >= c.first_vertex
        and e.dst < c.behind
    join stored.vertices as v on v.sample = e.sample and v.vertex = e.dst
    group by all
),

broken as (
    select
        count(*) filter (
            where not isfinite(coalesce(s.size, 0))
                or not abs(coalesce(s.total, 0) - v.gradient)
                <= $tolerance * coalesce(s.size, 0)
                    + $noise * coalesce(z.size, 0)
                    + coalesce(s.tiny, 0)
        ) as broken
    from stored.vertices as v
    join stored.samples as m on m.sample = v.sample
    join graphs as g on g.graph = m.graph
    left join sums as s on s.sample = v.sample and s.vertex = v.vertex
    left join noises as z on z.sample = v.sample and z.vertex = v.vertex
    where v.vertex <> g.loss_vertex
)

select * from broken
