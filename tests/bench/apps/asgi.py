"""ASGI apps that do as little as they can, so that nothing but the server is measured."""

PLAIN = (b"content-type", b"text/plain")
LARGE = b"x" * 65536


async def small(scope, receive, send):
    """Answer with five bytes."""
    if scope["type"] == "http":
        await _answer(send, b"hello")


async def large(scope, receive, send):
    """Answer with 64 KiB."""
    if scope["type"] == "http":
        await _answer(send, LARGE)


async def upload(scope, receive, send):
    """Answer with the size of the body."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, b"%d" % size)


async def _answer(send, body):
    headers = [PLAIN, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
