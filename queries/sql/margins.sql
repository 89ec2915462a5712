-- How narrow the decisions of the trace are: the runner-up edge of each vertex
-- against the best one.
-- grain:  one row per (sample, op_type)
-- reads:  best_edges, vertices, samples, nodes, tensors
-- param:  $narrow double = 0.1  margins below it count as narrow
-- param:  $method varchar = 'greedy'  which paths
-- unit:   vertices that have a choice; margin: 1 - runner-up / best in what
--         the method ranks by, 0 is a tie; op_type: the operator the best edge
--         leads to
with pairs as (
    select
        b.sample, b.dst, b.derivative, b.score,
        r.dst as other_dst, r.derivative as other_derivative,
        r.score as other_score
    from stored.best_edges as b
    join stored.best_edges as r on r.sample = b.sample and r.src = b.src
    where b.method = $method
        and r.method = $method
        and b.rank = 1
        and r.rank = 2
),

scored as (
    select
        p.sample, p.dst,
        score($method, p.derivative * v.gradient, p.score) as score,
        score($method, p.other_derivative * w.gradient, p.other_score)
            as other_score
    from pairs as p
    join stored.vertices as v on v.sample = p.sample and v.vertex = p.dst
    join stored.vertices as w
        on w.sample = p.sample and w.vertex = p.other_dst
),

operators as materialized (
    select t.sample, t.block, t.first_vertex, t.behind, n.op_type
    from tensor_blocks() as t
    join nodes as n on n.graph = t.graph and n.node = t.node
),

choices as (
    select
        s.sample, o.op_type, margin($method, s.score, s.other_score) as margin
    from scored as s
    join operators as o
        on o.sample = s.sample
        and o.block = activation_block(s.dst)
        and s.dst >= o.first_vertex
        and s.dst < o.behind
    where s.score is not null
),

margins as (
    select
        sample, op_type,
        count(*) as vertices,
        avg(margin) as mean_margin,
        median(margin) as median_margin,
        count(*) filter (where margin < $narrow) / count(*) as narrow_share,
        count(*) filter (where margin = 0) / count(*) as tie_share
    from choices
    group by sample, op_type
)

select * from margins
order by sample, narrow_share desc, op_type
