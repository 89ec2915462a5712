-- Whether a method ranks edges by their |contribution|, not by logarithms.
-- value:  true or false
-- param:  in_method varchar  method
create macro ranks_by_contribution(in_method) as
case in_method
    {by_contribution}
end
