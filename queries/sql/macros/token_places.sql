-- What tells the token of a vertex: of each tensor whose elements are vertices
-- the step of its operator, and how tokens lie along its axis named 'step'.
-- grain:  one row per (graph, tensor)
-- reads:  tensors, nodes
-- unit:   step, first_step: places in samples.tokens, those of a decoder follow
--         on those of the source; stride: elements from one to the next index
--         along the axis, which has `length` of them
create macro token_places() as table
select
    t.graph, t.tensor, t.node, t.first_vertex, t.size, n.step, t.first_step,
    list_position(t.axis_names, 'step') as axis,
    coalesce(list_product(t.shape[axis + 1:]), 1)::bigint as stride,
    t.shape[axis] as length
from tensors as t
left join nodes as n on n.graph = t.graph and n.node = t.node
where t.first_vertex is not null and t.size > 0
