-- The same call with ever other bodies. Arguments: method, path, content type, the file with one body a line ("" for
-- none), how they are taken ("any": each at random; "once": each at most once, the threads by turns), and the file
-- into which the tokens of the answers go ("" for nowhere).

local threads = 0
local all = {}

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
  all[threads] = thread
end

function init(arguments)
  method, path, kind, how = arguments[1], arguments[2], arguments[3], arguments[5]
  if kind ~= "" then
    wrk.headers["Content-Type"] = kind
  end
  bodies = {}
  if arguments[4] ~= "" then
    local count = 0
    for line in io.lines(arguments[4]) do
      if how == "any" or count % 2 == number then
        bodies[#bodies + 1] = line
      end
      count = count + 1
    end
  end
  next_body = 0
  if (arguments[6] or "") ~= "" then
    kept = io.open(arguments[6] .. "." .. number, "w")
    function response(status, headers, body)
      local token = string.match(body, '"token":"([^"]+)"') or string.match(body, '"access_token":"([^"]+)"')
      if token then
        kept:write(token, "\n")
        kept:flush()
      end
    end
  end
  math.randomseed(number * 7919 + os.time())
end

function request()
  if #bodies == 0 then
    return wrk.format(method, path)
  end
  if how == "any" then
    return wrk.format(method, path, nil, bodies[math.random(#bodies)])
  end
  -- With none left the last comes again, and its refusal counts as a failure.
  next_body = math.min(next_body + 1, #bodies)
  return wrk.format(method, path, nil, bodies[next_body])
end
