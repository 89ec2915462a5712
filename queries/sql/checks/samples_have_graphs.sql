-- samples: recorded ones have a graph
-- reads:  samples, graphs
-- unit:   samples
with broken as (
    select count(*) as broken
    from samples as s
    left join graphs as g on g.graph = s.graph
    where (s.status = 'ok') <> (g.graph is not null)
)

select * from broken
