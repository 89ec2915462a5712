-- The path from one vertex, edge by edge. The edges are materialised once: a
-- recursive term that reads Parquet would read it again at every hop. Edges
-- lead to larger vertices, so the order of vertices is the order of hops.
-- grain:  one row per hop
-- reads:  best_edges
-- param:  in_sample bigint  sample
-- param:  in_vertex bigint  number of the vertex to start from
-- param:  in_method varchar = 'greedy'  method of one path
create macro trace(in_sample, in_vertex, in_method := 'greedy') as table
with recursive traced as materialized (
    select *
    from traced_edges(in_sample, in_method)
    where src = in_vertex or src >= n_parameters()
),

path as (
    select * from traced where src = in_vertex
    union all
    select * from traced where src in (select dst from path)
)

select row_number() over (order by src) as hop, *
from path
order by hop
