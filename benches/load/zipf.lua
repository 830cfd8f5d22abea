-- Asks for /k/0 to /k/KEYS-1 by Zipf's law with exponent 1: the second half as often as the first, the third a third
-- as often, and so on.  wrk -s zipf.lua URL -- KEYS

local DRAWS = 200000
local requests, turn = {}, 0

function init(args)
  local keys = tonumber(args[1])
  local sums, sum = {}, 0
  for rank = 1, keys do
    sum = sum + 1 / rank
    sums[rank] = sum
  end
  math.randomseed(42)
  for draw = 1, DRAWS do
    local drawn, low, high = math.random() * sum, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < drawn then low = middle + 1 else high = middle end
    end
    requests[draw] = wrk.format("GET", "/k/" .. (low - 1))
  end
end

function request()
  turn = turn % DRAWS + 1
  return requests[turn]
end
