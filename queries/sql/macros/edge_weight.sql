-- The factor of an edge in the product over a path that a method ranks by.
-- value:  factor; null for a method whose score is of one edge alone, and where
--         the factor is too small for the store's dtype to hold it
-- param:  in_method varchar  method
-- param:  derivative float  derivative of the edge
-- param:  contribution float  contribution of the edge
-- param:  contribution_l1 double  sum of |contributions| of the edge's source
create macro edge_weight(
    in_method, derivative, contribution, contribution_l1
) as
case in_method
    {weight}
end
