-- Where gates are saturated: traced edges through an operator whose derivative
-- goes to 0 at large inputs, such as Sigmoid, with a derivative that is nearly
-- 0. There, a small contribution says little about how much the gate matters.
-- grain:  one row per (sample, component, op_type, step)
-- reads:  best_edges, nodes, samples, tensors
-- param:  $threshold double = 0.05  derivatives below it count as saturated
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges; saturated_share is a share of them; gate: whether the operator
--         saturates between 0 and 1
with saturating as materialized (
    select
        t.sample, t.block, t.first_vertex, t.behind,
        n.component, n.op_type, n.gate, n.step
    from tensor_blocks() as t
    join nodes as n on n.graph = t.graph and n.node = t.node
    where n.saturates
),

gate_edges as (
    select e.sample, g.component, g.op_type, g.gate, g.step, e.derivative
    from stored.best_edges as e
    join saturating as g
        on g.sample = e.sample
        and g.block = activation_block(e.dst)
        and e.dst >= g.first_vertex
        and e.dst < g.behind
    where e.method = $method and e.rank = 1
),

saturation as (
    select
        sample, component, op_type, gate, step,
        count(*) as edges,
        count(*) filter (where abs(derivative) < $threshold) as saturated,
        saturated / edges as saturated_share,
        avg(abs(derivative)) as mean_derivative
    from gate_edges
    group by sample, component, op_type, gate, step
)

select * from saturation
order by sample, saturated_share desc, component, op_type, step
