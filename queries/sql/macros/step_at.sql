-- The token that an element of a tensor belongs to: that of the operator which
-- computes it, else that of its index along the axis of tokens.
-- value:  place in samples.tokens, null where it belongs to none
-- param:  in_flat bigint  flat index of the element, row-major
-- param:  in_step integer  step of the operator, as in token_places
-- param:  in_first_step integer  token of index 0
-- param:  in_stride bigint  elements from one index to the next
-- param:  in_length bigint  number of indices
create macro step_at(
    in_flat, in_step, in_first_step, in_stride, in_length
) as coalesce(in_step, in_first_step + in_flat // in_stride % in_length)
