-- Part of a list, which mostly is the whole one: a list that is cut takes three
-- times as long.
-- value:  list
-- param:  in_list float[]  list
-- param:  in_first bigint  how many elements stand before the part
-- param:  in_length bigint  how many elements it has
create macro list_part(in_list, in_first, in_length) as
case
    when in_first = 0 and in_length = len(in_list) then in_list
    else in_list[in_first + 1:in_first + in_length]
end
