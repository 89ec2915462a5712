-- tensors: vertices are numbered without gaps
-- reads:  tensors, graphs
-- unit:   tensors
with spans as (
    select
        graph, first_vertex + size as behind,
        lead(first_vertex) over (
            partition by graph order by first_vertex, size
        ) as next_first
    from tensors
    where first_vertex is not null
),

broken as (
    select count(*) as broken
    from spans as s
    join graphs as g on g.graph = s.graph
    where s.behind <> coalesce(s.next_first, g.n_vertices)
)

select * from broken
