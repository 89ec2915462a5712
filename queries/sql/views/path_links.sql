-- The edges of paths between two operators, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group, from_node, to_node)
-- reads:  path_links, samples
create view path_links as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.from_node, t.to_node, t.edges, t.weighted_edges
from stored.path_links as t
join stored.samples as s on s.sample = t.sample
