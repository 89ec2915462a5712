-- How large values and gradients are at every operator of a sample.
-- grain:  one row per tensor
-- reads:  node_gradients, nodes, samples, tensors
-- param:  $sample bigint = 0  which sample
-- unit:   norms over the n elements of the tensor; zeros: share of elements
--         that are exactly 0; rms: l2 / sqrt(n)
with norms as (
    select
        t.name as tensor, n.op_type, n.component, n.module, n.layer, n.step,
        t.size as n, g.value_l2, g.value_max, g.value_zeros,
        g.gradient_l1, g.gradient_l2, g.gradient_max, g.gradient_zeros,
        g.gradient_l2 / sqrt(t.size) as gradient_rms,
        n."order"
    from stored.node_gradients as g
    join stored.samples as s on s.sample = g.sample
    join tensors as t on t.graph = s.graph and t.tensor = g.tensor
    left join nodes as n on n.graph = t.graph and n.node = t.node
    where g.sample = $sample
)

select * exclude ("order") from norms
order by "order" nulls first, tensor
