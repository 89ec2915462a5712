-- All edges where the store holds them, else the best of its first method.
-- grain:  one row per (sample, src, dst, slot)
-- reads:  edges, best_edges, vertices
create macro known_edges() as table
select sample, src, dst, slot, derivative, contribution
from all_edges()
where detail() = 'all'
union all
select sample, src, dst, slot, derivative, contribution
from scored_edges()
where detail() <> 'all' and method = first_method()
