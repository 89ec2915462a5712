-- The entries, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group, vertex)
-- reads:  entries, samples
create view entries as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.vertex, t.paths, t.gradient_l1
from stored.entries as t
join stored.samples as s on s.sample = t.sample
