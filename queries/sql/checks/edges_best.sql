-- best_edges: rank 1 is the best of all edges, where contributions decide
-- reads:  best_edges, vertices, edges, edge_matrices, matrix_derivatives,
--         samples, tensors, nodes
-- needs:  all
-- unit:   edges that are better, and best edges that are none; ties go to the
--         smallest (operator, slot, target)
with best as (
    select b.*, coalesce(abs(b.score), 0) as size, n."order"
    from best_edges as b
    join tensors as t on t.graph = b.graph and t.tensor = b.dst_tensor
    join nodes as n on n.graph = t.graph and n.node = t.node
    where ranks_by_contribution(b.method) and b.rank = 1
),

candidates as (
    select
        m.method, e.*, n."order",
        coalesce(abs(score(m.method, e.contribution, null)), 0) as size
    from edges as e
    cross join (select distinct method from stored.best_edges) as m
    join tensors as t on t.graph = e.graph and t.tensor = e.dst_tensor
    join nodes as n on n.graph = t.graph and n.node = t.node
    where ranks_by_contribution(m.method)
),

better as (
    select e.src
    from candidates as e
    left join best as b
        on b.method = e.method and b.sample = e.sample and b.src = e.src
    where b.sample is null
        or e.size > b.size
        or (
            e.size > 0
            and e.size = b.size
            and (e."order", e.slot, e.dst) < (b."order", b.slot, b.dst)
        )
),

unknown as (
    select b.src
    from best as b
    anti join edges as e
        on e.sample = b.sample
        and e.src = b.src
        and e.dst = b.dst
        and e.slot = b.slot
        and e.contribution = b.contribution
),

broken as (
    select
        (select count(*) from better) + (select count(*) from unknown)
            as broken
)

select * from broken
