"""The health check of an image: whether the service answers `/healthz` at the port that its setting names.

It does not ask `/readyz`: a container must not be replaced because its database is away.
"""

import os
import sys
from http.client import HTTPConnection

_, setting, default = sys.argv
connection = HTTPConnection("127.0.0.1", int(os.environ.get(setting, default)), timeout=4)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
