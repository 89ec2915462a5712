-- edge_matrices: matrix_derivatives has a list for each target, with a number
-- for each source
-- reads:  edge_matrices, matrix_derivatives
-- unit:   rows
with matrices as (
    select
        sample, matrix, count(*) as n_dst, min(len(derivatives)) as n_src,
        min(target) = 0
        and max(target) = count(*) - 1
        and max(len(derivatives)) = min(len(derivatives)) as numbered
    from stored.matrix_derivatives
    group by sample, matrix
),

broken as (
    select count(*) as broken
    from stored.edge_matrices as e
    left join matrices as m on m.sample = e.sample and m.matrix = e.matrix
    where not coalesce(
        m.numbered
        and m.n_dst = e.n_dst
        and e.first >= 0
        and e.first + e.n_src <= m.n_src,
        false
    )
)

select * from broken
