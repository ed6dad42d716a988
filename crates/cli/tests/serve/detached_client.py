"""Follows the log of a detached command into a file. Arguments: host, port, path of the log, file. Goes on where the file
ends. Killed at any time by the test."""

import http.client
import os
import sys

host, port, path, name = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(name, "ab", buffering=0) as file:
    offset = os.fstat(file.fileno()).st_size
    connection = http.client.HTTPConnection(host, port, timeout=120)
    headers = {"Accept": "application/octet-stream"}
    connection.request("GET", f"{path}?offset={offset}&follow=true", headers=headers)
    response = connection.getresponse()
    assert response.status == 200, (response.status, response.read())
    while data := response.read1(1 << 20):
        file.write(data)
