-- edges: as many as samples says
-- reads:  edges, edge_matrices, samples
-- needs:  all
-- unit:   samples
with counts as (
    select sample, count(*) as n from stored.edges group by sample
    union all
    select sample, sum(n_src::hugeint * n_dst) as n
    from stored.edge_matrices
    group by sample
),

totals as (
    select sample, sum(n) as n_edges from counts group by sample
),

broken as (
    select count(*) as broken
    from stored.samples as s
    left join totals as t on t.sample = s.sample
    where s.graph is not null
        and s.n_edges is distinct from coalesce(t.n_edges, 0)
)

select * from broken
