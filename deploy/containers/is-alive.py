"""The health check of an image: whether the service on this port of the container answers `/healthz`.

It does not ask `/readyz`: whoever replaces unhealthy containers must not replace a service because its database is
away.
"""

import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=4)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
