-- The edges that paths of a sample take: the best one of every vertex, if it
-- carries anything.
-- grain:  one row per src
-- reads:  best_edges, vertices, samples, tensors
-- param:  in_sample bigint  sample
-- param:  in_method varchar  method of one path
create macro traced_edges(in_sample, in_method) as table
select
    sample, graph, src, dst, src_tensor, dst_tensor, slot, derivative,
    contribution, score
from best_edges
where method = in_method
    and sample = in_sample
    and rank = 1
    and score is not null
