-- The paths from each element of a parameter to the loss: how many there are,
-- how large their products of derivatives, and on how many these concentrate.
-- grain:  one row per vertex
-- reads:  vertices, samples, tensors
-- param:  $parameter varchar  name of a tensor; * and ? stand for any text
-- param:  $sample bigint = 0  which sample
-- unit:   paths (infinite beyond 2^1024, log2_paths is not); products: sum of
--         |product of derivatives|; effective_paths: 2^entropy of their shares;
--         largest_*: largest products of either sign, null where there is
--         none; statistics: 'recorded', else all of it is null and it says why;
--         so does a single row without a vertex where none is stored
with recorded as (
    select
        case
            when count(log2_paths) > 0 then 'recorded'
            else 'not recorded: dump with --statistics'
        end as statistics
    from stored.vertices
    where sample = $sample
),

named as materialized (
    select b.*
    from tensor_blocks() as b
    join tensors as t on t.graph = b.graph and t.tensor = b.tensor
    where b.sample = $sample and t.name glob $parameter
),

chosen as (
    select
        v.vertex, vertex_name(b.graph, v.vertex) as vertex_name, v.gradient,
        v.log2_paths, v.log2_products, v.log2_positive, v.log2_negative,
        v.path_entropy
    from stored.vertices as v
    join named as b
        on b.block = vertex_block(v.vertex)
        and v.vertex >= b.first_vertex
        and v.vertex < b.behind
    where v.sample = $sample
        and v.vertex >= (select min(first_vertex) from named)
        and v.vertex < (select max(behind) from named)
),

path_statistics as (
    select
        c.vertex, c.vertex_name, c.gradient, c.log2_paths,
        case
            when c.vertex is not null and r.statistics = 'recorded'
                then coalesce(2.0 ** c.log2_paths, 0)
        end as paths,
        case
            when c.vertex is not null and r.statistics = 'recorded'
                then coalesce(2.0 ** c.log2_products, 0)
        end as products,
        2.0 ** c.path_entropy as effective_paths,
        2.0 ** c.log2_positive as largest_positive,
        -(2.0 ** c.log2_negative) as largest_negative,
        case
            when c.vertex is not null then r.statistics
            else 'no vertex of ' || $parameter || ' is stored: a wrong name, '
                || 'no edge in this sample, or left out of the dump'
        end as statistics
    from recorded as r
    left join chosen as c on true
)

select * from path_statistics
order by vertex
