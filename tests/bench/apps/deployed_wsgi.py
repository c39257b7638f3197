"""A WSGI app that says which release of it answers, and which process."""

import json
import os

VERSION = "1"


def app(environ, start_response):
    """Answer with the release and the PID."""
    body = json.dumps({"version": VERSION, "pid": os.getpid()}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
