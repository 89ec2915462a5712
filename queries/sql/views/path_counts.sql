-- The paths through components, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group, component)
-- reads:  path_counts, samples
create view path_counts as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.component, t.paths, t.weighted_paths
from stored.path_counts as t
join stored.samples as s on s.sample = t.sample
