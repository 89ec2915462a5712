-- The norms, with the graph, the operator and the size of each tensor.
-- grain:  one row per (sample, tensor)
-- reads:  node_gradients, samples, tensors
create view node_gradients as
select
    g.sample, s.graph, t.node, g.tensor, t.size as n,
    g.value_l1, g.value_l2, g.value_max, g.value_zeros,
    g.gradient_l1, g.gradient_l2, g.gradient_max, g.gradient_zeros
from stored.node_gradients as g
join stored.samples as s on s.sample = g.sample
join stored.tensors as t on t.graph = s.graph and t.tensor = g.tensor
