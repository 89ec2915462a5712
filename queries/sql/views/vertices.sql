-- The vertices, with the graph and the tensors that follow from other tables.
-- grain:  one row per (sample, vertex)
-- reads:  vertices, samples, tensors
create view vertices as
select
    v.sample, t.graph, v.vertex, t.tensor, v.value, v.gradient,
    v.contribution_l1, v.split_entropy, v.log2_paths, v.log2_products,
    v.log2_positive, v.log2_negative, v.path_entropy
from stored.vertices as v
join tensor_blocks() as t
    on t.sample = v.sample
    and t.block = vertex_block(v.vertex)
    and v.vertex >= t.first_vertex
    and v.vertex < t.behind
