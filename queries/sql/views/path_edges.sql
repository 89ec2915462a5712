-- The edges of paths, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group, node)
-- reads:  path_edges, samples
create view path_edges as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.node, t.edges, t.weighted_edges
from stored.path_edges as t
join stored.samples as s on s.sample = t.sample
