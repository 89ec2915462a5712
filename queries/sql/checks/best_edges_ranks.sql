-- best_edges: ranks run from 1 and the score does not grow with them
-- reads:  best_edges, vertices
-- unit:   pairs of edges, and vertices
with choices as materialized (
    select *
    from scored_edges()
    semi join (
        select method, sample, src from stored.best_edges where rank = 2
    ) using (method, sample, src)
),

grown as (
    select a.src
    from choices as a
    join choices as b using (method, sample, src)
    where b.rank = a.rank + 1
        and (
            (a.score is null and b.score is not null)
            or case
                when ranks_by_contribution(method)
                    then abs(b.score) > abs(a.score)
                else b.score > a.score
            end
        )
),

unranked as (
    select method, sample, src
    from stored.best_edges
    group by method, sample, src
    having min(rank) <> 1 or max(rank) <> count(*)
),

broken as (
    select
        (select count(*) from grown) + (select count(*) from unranked)
            as broken
)

select * from broken
