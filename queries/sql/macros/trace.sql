-- The path from one vertex, edge by edge. The edges are materialised once: a
-- recursive term that reads Parquet would read it again at every hop. Edges
-- lead to larger vertices, so the order of vertices is the order of hops, and
-- an edge that carries nothing ends the path before it.
-- grain:  one row per hop
-- reads:  best_edges, vertices, samples, tensors
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex to start from
-- param:  in_method varchar = 'greedy'  method of one path
create macro trace(in_sample, in_vertex, in_method := 'greedy') as table
with recursive chosen as materialized (
    select src, dst
    from stored.best_edges
    where method = in_method
        and sample = in_sample
        and rank = 1
        and (src = in_vertex or src >= n_parameters())
),

onward as (
    select src, dst from chosen where src = in_vertex
    union all
    select src, dst from chosen where src in (select dst from onward)
),

hops as materialized (
    select src, dst, slot, derivative, score
    from stored.best_edges
    where method = in_method
        and sample = in_sample
        and rank = 1
        and (src = in_vertex or src >= n_parameters())
        and src in (select src from onward)
),

gradients as materialized (
    select vertex, gradient
    from stored.vertices
    where sample = in_sample
        and vertex >= n_parameters()
        and vertex in (select dst from hops)
),

path as materialized (
    select
        in_sample as sample, b.graph, h.src, h.dst, a.tensor as src_tensor,
        b.tensor as dst_tensor, h.slot, h.derivative,
        h.derivative * g.gradient as contribution,
        score(in_method, h.derivative * g.gradient, h.score) as score
    from hops as h
    join gradients as g on g.vertex = h.dst
    join tensor_blocks() as a
        on a.sample = in_sample
        and a.block = vertex_block(h.src)
        and h.src >= a.first_vertex
        and h.src < a.behind
    join tensor_blocks() as b
        on b.sample = in_sample
        and b.block = activation_block(h.dst)
        and h.dst >= b.first_vertex
        and h.dst < b.behind
)

select row_number() over (order by src) as hop, *
from path
where src < (
    select coalesce(min(src), 9223372036854775807)
    from path
    where score is null
)
order by hop
