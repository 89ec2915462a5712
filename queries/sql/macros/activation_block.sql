-- vertex_block of a vertex that is known to be no parameter, such as the end of
-- an edge; it is found faster.
-- value:  block
-- param:  in_vertex bigint  number of the vertex
create macro activation_block(in_vertex) as in_vertex >> 8
