-- Which samples are of one sentence: those with the same text and number.
-- grain:  one row per sample
-- reads:  samples
-- unit:   number: how often the text has stood in the checkpoint, itself
--         included
create macro sentences() as table
select
    sample, text,
    row_number() over (partition by checkpoint, text order by sample) as number
from samples
