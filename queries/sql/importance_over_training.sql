-- How the importance of each default component changes while a model is
-- trained: means over the samples of each checkpoint of the store.
-- grain:  one row per (checkpoint, parameter_group, component)
-- reads:  samples, nodes, tensors, path_edges, path_counts, path_totals
-- param:  $method varchar = 'greedy'  which paths
-- unit:   training_step is the number in the checkpoint's name; loss is the
--         mean over the checkpoint's samples; samples: those whose graph has
--         the component; edge_share is the mean over those of them that have a
--         path from the group
with losses as (
    select checkpoint, avg(loss) as loss
    from samples
    where status = 'ok'
    group by checkpoint
),

importance as (
    select
        try_cast(regexp_extract(s.checkpoint, '\d+') as bigint)
            as training_step,
        s.checkpoint, l.loss, i.parameter_group, i.component,
        count(*) as samples,
        avg(i.edge_share) as edge_share,
        avg(i.weighted_edge_share) as weighted_edge_share
    from sample_importance($method) as i
    join samples as s on s.sample = i.sample
    join losses as l on l.checkpoint is not distinct from s.checkpoint
    group by all
)

select * from importance
order by training_step, checkpoint, parameter_group, edge_share desc, component
