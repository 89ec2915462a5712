-- A number that vertices next to each other share, to join them by with the
-- tensor that they are an element of; see tensor_blocks.
-- value:  block; parameters, few and large tensors, have larger ones
-- param:  in_vertex bigint  number of the vertex
create macro vertex_block(in_vertex) as
case
    when in_vertex < n_parameters() then in_vertex >> 16
    else activation_block(in_vertex)
end
