-- How much better the best edge of a vertex is than the second best.
-- value:  1 - runner-up / best in what the method ranks by; 0 is a tie, 1 a
--         runner-up that carries nothing
-- param:  in_method varchar  method
-- param:  best float  score of the best edge
-- param:  runner_up float  score of the second best
create macro margin(in_method, best, runner_up) as 1 - coalesce(
    case in_method
        {ratio}
    end,
    0
)
