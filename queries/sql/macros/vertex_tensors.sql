-- The tensors of a sample's graph whose elements are vertices, for an asof join
-- of a vertex with the tensor that it is an element of.
-- grain:  one row per tensor
-- reads:  tensors, samples
-- param:  in_sample bigint  sample
create macro vertex_tensors(in_sample) as table
select *
from tensors
where first_vertex is not null
    and size > 0
    and graph = (select graph from samples where sample = in_sample)
