-- The same GET over and over; the path is the one argument.

function init(arguments)
  path = arguments[1]
end

function request()
  return wrk.format("GET", path)
end
