-- The paths between two tokens, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group, entry_step, end_step)
-- reads:  path_spans, samples
create view path_spans as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.entry_step, t.end_step, t.paths, t.weighted_paths
from stored.path_spans as t
join stored.samples as s on s.sample = t.sample
