-- The importance of components in every sample: the one definition that the
-- query files, the command and Python use.
-- grain:  one row per (sample, parameter_group, component)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- unit:   as of importance_measures
-- param:  in_method varchar  method
-- param:  in_by_group boolean = true  as of importance_counts
-- param:  in_column varchar = 'component'  as of importance_counts
create macro sample_importance(
    in_method, in_by_group := true, in_column := 'component'
) as table
with counts as (
    select *
    from importance_counts(
        in_method, in_by_group := in_by_group, in_column := in_column
    )
)

select * from importance_measures('counts')
