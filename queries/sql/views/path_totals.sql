-- What became of the parameters, with the graph of their sample.
-- grain:  one row per (method, sample, parameter_group)
-- reads:  path_totals, samples
create view path_totals as
select
    t.method, t.sample, s.graph, t.parameter_group,
    t.parameters, t.traced, t.dead, t.absent, t.traced_gradient_l1
from stored.path_totals as t
join stored.samples as s on s.sample = t.sample
