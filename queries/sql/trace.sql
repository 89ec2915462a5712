-- The path from one vertex to the loss, hop by hop, and how sure each step is.
-- grain:  one row per hop
-- reads:  best_edges, nodes, samples, tensors, vertices
-- param:  $sample bigint = 0  which sample
-- param:  $vertex bigint  number of the vertex to start from
-- param:  $method varchar = 'greedy'  which paths
-- unit:   contribution: share of the gradient of the vertex before that
--         arrives over this edge; share: contribution / that gradient;
--         margin: 1 - runner-up / best in what the method ranks by, 0 is a
--         tie, null without a runner-up
with path as materialized (
    select * from trace($sample, $vertex, in_method := $method)
),

stops as (
    select 0 as hop, $vertex as vertex, null as src, null as dst_tensor,
        null as slot, null as derivative, null as contribution,
        null as score
    union all
    select
        hop, dst, src, dst_tensor, slot, derivative, contribution, score
    from path
),

runners_up as materialized (
    select src, dst, derivative, score
    from stored.best_edges
    where method = $method
        and sample = $sample
        and rank = 2
        and (src = $vertex or src >= n_parameters())
        and src in (select src from path)
),

gradients as materialized (
    select vertex, value, gradient
    from stored.vertices
    where sample = $sample
        and (vertex = $vertex or vertex >= n_parameters())
        and vertex in (
            select vertex from stops
            union all
            select dst from runners_up
        )
),

scored as (
    select
        r.src,
        score($method, r.derivative * g.gradient, r.score) as score
    from runners_up as r
    join gradients as g on g.vertex = r.dst
),

named as (
    select
        p.*,
        vertex_name(s.graph, p.vertex) as vertex_name,
        n.op_type, n.component, n.module, n.layer,
        vertex_step(s.graph, p.vertex) as step,
        s.tokens
    from stops as p
    join samples as s on s.sample = $sample
    left join tensors as t on t.graph = s.graph and t.tensor = p.dst_tensor
    left join nodes as n on n.graph = s.graph and n.node = t.node
),

hops as (
    select
        p.hop, p.vertex, p.vertex_name, p.op_type, p.component, p.module,
        p.layer, p.step, p.tokens[p.step + 1] as token,
        g.value, g.gradient, p.slot, p.derivative, p.contribution,
        p.contribution / nullif(before.gradient, 0) as share,
        case
            when r.src is not null then margin($method, p.score, r.score)
        end as margin
    from named as p
    left join gradients as g on g.vertex = p.vertex
    left join gradients as before on before.vertex = p.src
    left join scored as r on r.src = p.src
)

select * from hops
order by hop
