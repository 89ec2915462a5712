-- How large values and gradients are at every operator of a sample.
-- grain:  one row per tensor
-- reads:  node_gradients, nodes, tensors
-- param:  $sample bigint = 0  which sample
-- unit:   norms over the n elements of the tensor; zeros: share of elements
--         that are exactly 0; rms: l2 / sqrt(n)
with norms as (
    select
        t.name as tensor, n.op_type, n.component, n.module, n.layer, n.step,
        g.n, g.value_l2, g.value_max, g.value_zeros,
        g.gradient_l1, g.gradient_l2, g.gradient_max, g.gradient_zeros,
        g.gradient_l2 / sqrt(g.n) as gradient_rms,
        n."order"
    from node_gradients as g
    join tensors as t on t.graph = g.graph and t.tensor = g.tensor
    left join nodes as n on n.graph = g.graph and n.node = g.node
    where g.sample = $sample
)

select * exclude ("order") from norms
order by "order" nulls first, tensor
