"""WSGI apps that do as little as they can, so that nothing but the server is measured."""

LARGE = b"x" * 65536


def small(environ, start_response):
    """Answer with five bytes."""
    return _answer(start_response, b"hello")


def large(environ, start_response):
    """Answer with 64 KiB."""
    return _answer(start_response, LARGE)


def upload(environ, start_response):
    """Answer with the size of the body."""
    size = 0
    while part := environ["wsgi.input"].read(65536):
        size += len(part)
    return _answer(start_response, b"%d" % size)


def _answer(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
