-- tensors: parameters come first and are alike in all graphs
-- reads:  tensors, graphs
-- unit:   tensors behind the first parameters, and names of parameters
with parameters as (
    select * from tensors where kind = 'parameter'
),

behind as (
    select p.name
    from parameters as p
    join graphs as g on g.graph = p.graph
    where p.first_vertex + p.size > g.n_parameters
),

unlike as (
    select name
    from parameters
    group by name
    having count(distinct (first_vertex, shape)) > 1
        or count(*) < (select count(*) from graphs)
),

broken as (
    select
        (select count(*) from behind) + (select count(*) from unlike) as broken
)

select * from broken
