-- Commit and confirm by turns. A confirm names the transaction committed LAG requests ago: each thread has half of
-- the connections, one request under way on each, so that its answer has long come.
-- Arguments: number of accounts (1 = a hot one), a word that makes the run's transaction ids new.

local LAG = 128
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  accounts = tonumber(arguments[1])
  word = arguments[2]
  count = 0
  committed = {}
  wrk.headers["Content-Type"] = "application/json"
  math.randomseed(number * 7919 + os.time())
end

function request()
  count = count + 1
  local turn = math.floor(count / 2)
  local id = committed[turn - LAG]
  if count % 2 == 0 and id then
    committed[turn - LAG] = nil
    local body = '{"userid":"user-' .. id.user .. '","transactionid":"' .. id.name .. '"}'
    return wrk.format("POST", "/eai/v1/points?confirm", nil, body)
  end
  local user = math.random(accounts)
  local name = word .. "-" .. number .. "-" .. count
  -- wrk makes one request more than it sends, to see what this function returns: the first may never arrive.
  if count % 2 == 1 and count > 1 then
    committed[math.floor((count + 1) / 2)] = { user = user, name = name }
  end
  local body = '{"userid":"user-' .. user .. '","pointstodeduct":1,"transactionid":"' .. name
    .. '","description":"redemption for a benchmark"}'
  return wrk.format("POST", "/eai/v1/points?commit", nil, body)
end
