"""The floor of every check in Python: one GET with a ready token, by http.client.

Run by the benchmark: get.py HOST PORT PATH, the token in the environment.
"""

import http.client
import os
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
connection.request("GET", sys.argv[3], headers={"X-Auth-Token": os.environ["TOKEN"]})
answer = connection.getresponse()
answer.read()
sys.exit(answer.status != 200)
