-- Whether the contributions of every vertex sum to its gradient. Needs a store
-- of detail 'all' and, for parameters, their gradients.
-- grain:  one row per (sample, tensor)
-- reads:  edges, edge_matrices, matrix_derivatives, vertices, samples, tensors
-- param:  $sample bigint = 0  which sample
-- unit:   error: largest |sum of contributions - gradient| / sum of
--         |contributions| over the tensor's vertices; vertices without an edge
--         are left out
with sums as (
    select
        sample, src as vertex,
        sum(contribution::double) as total,
        sum(abs(contribution::double)) as size
    from all_edges()
    where sample = $sample
    group by all
),

errors as (
    select
        s.sample, t.name as tensor, count(*) as vertices,
        max(abs(s.total - v.gradient) / greatest(s.size, 1e-30)) as error
    from sums as s
    join stored.vertices as v on v.sample = s.sample and v.vertex = s.vertex
    join tensor_blocks() as b
        on b.sample = s.sample
        and b.block = vertex_block(s.vertex)
        and s.vertex >= b.first_vertex
        and s.vertex < b.behind
    join tensors as t on t.graph = b.graph and t.tensor = b.tensor
    group by s.sample, t.name
)

select * from errors
order by error desc, tensor
