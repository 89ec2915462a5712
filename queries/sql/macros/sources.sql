-- The sources of a row of matrix_targets or edge_matrices.
-- value:  list of vertices
-- param:  src bigint  the first
-- param:  src_step bigint  from one to the next
-- param:  n_src bigint  how many
create macro sources(src, src_step, n_src) as
range(src, src + n_src * src_step, src_step)
