-- All edges where the store holds them, else the best of its first method.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, best_edges
create macro known_edges() as table
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative,
    contribution
from edges
where detail() = 'all'
union all
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative,
    contribution
from best_edges
where detail() <> 'all' and method = first_method()
