-- {table}: one row per ({grain})
-- tables: all
-- param:  $table varchar  table
-- param:  $grain varchar[]  its columns that identify a row
-- param:  $never_null varchar[]  those of them that every row must have
-- unit:   missing values of these columns, and rows that stand more than once
with keys as (
    select columns(lambda c: c in $grain) from query_table($table)
),

missing as (
    select count(*) - count(columns(lambda c: c in $never_null)) from keys
),

repeated as (
    select * from keys group by all having count(*) > 1
),

broken as (
    select
        (select list_sum([*columns(*)]) from missing)
        + (select count(*) from repeated) as broken
)

select * from broken
