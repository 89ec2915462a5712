-- Where gates are saturated: traced edges through an operator whose derivative
-- goes to 0 at large inputs, such as Sigmoid, with a derivative that is nearly
-- 0. There, a small contribution says little about how much the gate matters.
-- grain:  one row per (sample, component, op_type, step)
-- reads:  best_edges, nodes, tensors
-- param:  $threshold double = 0.05  derivatives below it count as saturated
-- param:  $method varchar = 'greedy'  which paths
-- unit:   edges; saturated_share is a share of them; gate: whether the operator
--         saturates between 0 and 1
with saturating as (
    select t.graph, t.tensor, n.component, n.op_type, n.gate, n.step
    from nodes as n
    join tensors as t on t.graph = n.graph and t.node = n.node
    where n.saturates
),

gate_edges as (
    select e.sample, g.component, g.op_type, g.gate, g.step, e.derivative
    from best_edges as e
    join saturating as g on g.graph = e.graph and g.tensor = e.dst_tensor
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
