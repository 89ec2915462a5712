-- path_links: with the edges that enter the graph at an operator they are its
-- path_edges
-- reads:  path_edges, path_links, entries, samples, tensors, nodes
-- param:  $tolerance double  of the edges of the operator
-- param:  $tiny double  of weights, below which the store's dtype loses digits
-- unit:   operators of a parameter group
with entering as (
    select
        e.method, e.sample, e.parameter_group, t.node,
        sum(e.paths) as edges, sum(e.gradient_l1) as weighted_edges
    from entries as e
    asof join token_places() as t
        on t.graph = e.graph and e.vertex >= t.first_vertex
    group by all
),

parts as (
    select * from entering
    union all
    select method, sample, parameter_group, to_node, edges, weighted_edges
    from path_links
    where edges > 0
),

sums as (
    select
        method, sample, parameter_group, node,
        sum(edges) as edges, sum(weighted_edges) as weighted_edges
    from parts
    group by all
),

wrong as (
    select p.sample
    from path_edges as p
    full join sums as s using (method, sample, parameter_group, node)
    where not coalesce(
        abs(p.edges - s.edges) <= $tolerance * p.edges
        and abs(p.weighted_edges - s.weighted_edges)
            <= $tolerance * p.weighted_edges + $tiny,
        false
    )
),

none as (
    select sample from path_links where not edges > 0
),

broken as (
    select
        (select count(*) from wrong) + (select count(*) from none) as broken
)

select * from broken
