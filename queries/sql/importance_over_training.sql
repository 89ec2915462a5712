-- How the importance of each default component changes while a model is
-- trained: means over the samples of each checkpoint of the store.
-- grain:  one row per (checkpoint, parameter_group, component)
-- reads:  path_edges, nodes, samples
-- param:  $method varchar = 'greedy'  which paths
-- unit:   training_step is the number in the checkpoint's name; loss is the
--         mean over the checkpoint's samples; edge_share is the mean over those
--         that have a path from the group, and sums to 1 over components
with component_edges as (
    select
        e.sample, s.checkpoint, e.parameter_group, n.component,
        sum(e.edges) as edges,
        sum(e.weighted_edges) as weighted_edges
    from path_edges as e
    join nodes as n on n.graph = e.graph and n.node = e.node
    join samples as s on s.sample = e.sample
    where e.method = $method
    group by all
),

shares as (
    select
        sample, checkpoint, parameter_group, component,
        edges / sum(edges) over g as edge_share,
        weighted_edges / sum(weighted_edges) over g as weighted_edge_share
    from component_edges
    window g as (partition by sample, parameter_group)
),

traced as (
    select checkpoint, parameter_group, count(distinct sample) as samples
    from shares
    group by checkpoint, parameter_group
),

losses as (
    select checkpoint, avg(loss) as loss
    from samples
    where status = 'ok'
    group by checkpoint
),

importance as (
    select
        try_cast(regexp_extract(t.checkpoint, '\d+') as bigint)
            as training_step,
        t.checkpoint, l.loss, t.parameter_group, x.component, t.samples,
        sum(x.edge_share / t.samples) as edge_share,
        sum(x.weighted_edge_share / t.samples) as weighted_edge_share
    from traced as t
    join shares as x
        on x.checkpoint is not distinct from t.checkpoint
        and x.parameter_group = t.parameter_group
    join losses as l on l.checkpoint is not distinct from t.checkpoint
    group by all
)

select * from importance
order by training_step, checkpoint, parameter_group, edge_share desc, component
