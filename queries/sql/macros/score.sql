-- What a method ranks an edge by, null where the edge carries nothing.
-- value:  score; files hold it where it does not follow from the contribution
-- param:  in_method varchar  method
-- param:  contribution float  contribution of the edge
-- param:  score float  score in the file
create macro score(in_method, contribution, score) as
case in_method
    {score}
end
