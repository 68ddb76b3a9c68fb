-- Tokens over and over. Arguments: what to do (verify, forge, issue), and the file with one token a line.
-- A forged token is one of these with its last character turned into another.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  action = arguments[1]
  tokens = {}
  for line in io.lines(arguments[2]) do
    tokens[#tokens + 1] = line
  end
  count = 0
  math.randomseed(number * 7919 + os.time())
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  count = count + 1
  if action == "issue" then
    local body = '{"base_url":"https://mystore.example/promotions","customer_id":"customer-' .. number .. "-" .. count
      .. '","campaign_id":"spring-sale","duration":86400,"product_id":"housing"}'
    return wrk.format("POST", "/v1/tokens", nil, body)
  end
  local token = tokens[math.random(#tokens)]
  if action == "forge" then
    local last = string.sub(token, 32)
    token = string.sub(token, 1, 31) .. (last == "0" and "1" or "0")
  end
  return wrk.format("POST", "/v1/tokens/" .. token .. "/verify", nil, '{"user_agent":"Mozilla/5.0","method":"GET"}')
end
