-- Requests of any kind. Arguments: the file with one a line, as method, path and body with tabs between them, and how
-- they are taken ("any": each at random; "once": each at most once, the threads by turns).

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  how = arguments[2]
  wrk.headers["Content-Type"] = "application/json"
  requests = {}
  local count = 0
  for line in io.lines(arguments[1]) do
    if how == "any" or count % 2 == number then
      local method, path, body = string.match(line, "^(%S+)\t([^\t]+)\t(.*)$")
      requests[#requests + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
    end
    count = count + 1
  end
  next_request = 0
  math.randomseed(number * 7919 + os.time())
end

function request()
  if how == "any" then
    return requests[math.random(#requests)]
  end
  -- With none left the last comes again.
  next_request = math.min(next_request + 1, #requests)
  return requests[next_request]
end
