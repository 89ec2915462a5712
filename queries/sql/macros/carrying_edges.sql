-- traced_edges without the columns that take time. Gradients so large that no
-- product with a derivative rounds to 0 (2^-149 is the smallest float) are not
-- looked up.
-- grain:  one row per src
-- reads:  best_edges, vertices
-- param:  in_sample bigint  sample
-- param:  in_method varchar  method of one path
create macro carrying_edges(in_sample, in_method) as table
with chosen as materialized (
    select src, dst, derivative, score
    from stored.best_edges
    where method = in_method and sample = in_sample and rank = 1
),

faint as materialized (
    select vertex, gradient
    from stored.vertices
    where sample = in_sample
        and abs(gradient) < (
            select pow(2, -148) / min(abs(derivative::double))
            from chosen
            where derivative <> 0
        )
)

select c.src, c.dst
from chosen as c
left join faint as f on f.vertex = c.dst
where score(in_method, c.derivative * coalesce(f.gradient, 1), c.score)
    is not null
