-- Whether a method ranks an edge by the edge alone, not by the path behind it.
-- value:  true or false
-- param:  in_method varchar  method
create macro is_of_one_edge(in_method) as
case in_method
    {of_one_edge}
end
