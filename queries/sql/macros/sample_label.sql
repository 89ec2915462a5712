-- What a label says of a sample.
-- value:  value, null where the sample has no such label
-- reads:  labels
-- param:  in_sample bigint  sample
-- param:  in_label varchar  name of the label
create macro sample_label(in_sample, in_label) as (
    select max(value) from labels where sample = in_sample and label = in_label
)
