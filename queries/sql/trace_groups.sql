-- The paths of all parameters of a sample at once: how many edges of each
-- group's paths every operator computes, pushed level by level. It must equal
-- path_edges.
-- grain:  one row per (parameter_group, node)
-- reads:  entries, best_edges, samples, tensors
-- param:  $sample bigint = 0  which sample
-- param:  $method varchar = 'greedy'  a method of one path
-- unit:   edges; weighted_edges count each parameter by its absolute gradient
with edges_into as (
    select * from path_mass($sample, $method)
),

edges_of as (
    select
        e.parameter_group, t.node,
        sum(e.paths) as edges, sum(e.gradient_l1) as weighted_edges
    from edges_into as e
    join tensor_blocks() as t
        on t.sample = $sample
        and t.block = activation_block(e.vertex)
        and e.vertex >= t.first_vertex
        and e.vertex < t.behind
    group by all
)

select * from edges_of
order by parameter_group, node
