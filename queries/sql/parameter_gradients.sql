-- How large the gradient of each parameter tensor is, sample by sample.
-- grain:  one row per (sample, parameter)
-- reads:  node_gradients, samples, tensors
-- unit:   norms over all n elements of the parameter; zeros: share of elements
--         whose gradient is exactly 0
with parameter_gradients as (
    select
        g.sample, t.name as parameter, t.shape, t.size as n,
        g.gradient_l1, g.gradient_l2, g.gradient_max, g.gradient_zeros,
        g.gradient_l2 / nullif(g.value_l2, 0) as relative_to_value
    from stored.node_gradients as g
    join stored.samples as s on s.sample = g.sample
    join tensors as t on t.graph = s.graph and t.tensor = g.tensor
    where t.kind = 'parameter'
)

select * from parameter_gradients
order by sample, gradient_l2 desc, parameter
