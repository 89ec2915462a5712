-- The index along one axis of an element of a tensor.
-- value:  index, from 0
-- param:  in_flat bigint  flat index of the element, row-major
-- param:  in_shape bigint[]  shape of the tensor
-- param:  in_axis bigint  axis, from 1
create macro axis_index(in_flat, in_shape, in_axis) as (
    in_flat // coalesce(list_product(in_shape[in_axis + 1:]), 1)::bigint
) % in_shape[in_axis]
