-- What was recorded of each sample, and how much of it was traced.
-- grain:  one row per sample
-- reads:  samples, path_totals
-- param:  $method varchar = 'greedy'  which paths
-- unit:   seconds of the dump; traced_share is of all parameters
with traced as (
    select sample, sum(traced) as traced, sum(parameters) as parameters
    from stored.path_totals
    where method = $method
    group by sample
),

summary as (
    select
        s.sample, s.status, s.text, s.n_tokens, s.loss, s.graph,
        s.n_vertices, s.n_edges, s.seconds,
        t.traced / t.parameters as traced_share, s.message
    from samples as s
    left join traced as t using (sample)
)

select * from summary
order by sample
