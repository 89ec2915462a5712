-- edges: the contributions of every vertex sum to its gradient
-- reads:  edges, vertices, graphs
-- needs:  all
-- param:  $tolerance double  of the sum of |contributions|
-- unit:   vertices
with sums as (
    select
        sample, src as vertex,
        sum(contribution::double) as total,
        sum(abs(contribution::double)) as size
    from edges
    group by all
),

broken as (
    select
        count(*) filter (
            where not abs(coalesce(s.total, 0) - v.gradient)
                <= $tolerance * greatest(coalesce(s.size, 0), 1e-30)
        ) as broken
    from vertices as v
    join graphs as g on g.graph = v.graph
    left join sums as s on s.sample = v.sample and s.vertex = v.vertex
    where v.vertex <> g.loss_vertex
)

select * from broken
