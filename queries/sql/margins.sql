-- How narrow the decisions of the trace are: the runner-up edge of each vertex
-- against the best one.
-- grain:  one row per (sample, op_type)
-- reads:  best_edges, nodes, tensors
-- param:  $narrow double = 0.1  margins below it count as narrow
-- param:  $method varchar = 'greedy'  which paths
-- unit:   vertices that have a choice; margin: 1 - runner-up / best in what
--         the method ranks by, 0 is a tie; op_type: the operator the best edge
--         leads to
with choices as (
    select
        b.sample, b.graph, b.dst_tensor,
        margin($method, b.score, r.score) as margin
    from best_edges as b
    join best_edges as r
        on r.method = b.method
        and r.sample = b.sample
        and r.src = b.src
        and r.rank = 2
    where b.method = $method and b.rank = 1 and b.score is not null
),

margins as (
    select
        c.sample, n.op_type,
        count(*) as vertices,
        avg(c.margin) as mean_margin,
        median(c.margin) as median_margin,
        count(*) filter (where c.margin < $narrow) / count(*) as narrow_share,
        count(*) filter (where c.margin = 0) / count(*) as tie_share
    from choices as c
    join tensors as t on t.graph = c.graph and t.tensor = c.dst_tensor
    join nodes as n on n.graph = t.graph and n.node = t.node
    group by c.sample, n.op_type
)

select * from margins
order by sample, narrow_share desc, op_type
