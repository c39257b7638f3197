"""An ASGI app that does by request what an app should not do, and what not every server expects.

Each function `on_...` is a path. /noted?KEY answers with what a request has noted under a key, null for
nothing; /let-go?KEY lets a request go on that waits there.
"""

import asyncio
import collections
import json
import os

HERE = os.getcwd()

noted = {}
gates = collections.defaultdict(asyncio.Event)
kept = set()

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"end"}


def start(status=200, *fields, **more):
    return {"type": "http.response.start", "status": status, "headers": list(fields), **more}


def body(data=b"", *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def task(coroutine):
    kept.add(made := asyncio.ensure_future(coroutine))
    made.add_done_callback(kept.discard)
    return made


async def read(receive):
    data = b""
    while (message := await receive())["type"] == "http.request":
        data += message["body"]
        if not message["more_body"]:
            return data
    return data  # the client has gone amid its body


async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


# What is right.


async def on_hello(scope, receive, send):
    await send(start())
    await send(body(b"hello"))


async def on_echo(scope, receive, send):
    data = await read(receive)
    await send(start(200, (b"x-length", b"%d" % len(data))))
    await send(body(data))


async def on_scope(scope, receive, send):
    told = {key: value for key, value in scope.items() if key != "state"}
    text = json.dumps(told, default=lambda value: value.decode("latin-1")).encode()
    await send(start())
    await send(body(text))


async def on_parts(scope, receive, send):
    await send(start())
    for part in (b"one", b"", b"two"):
        await send(body(part, more=True))
    await send(body())


async def on_held(scope, receive, send):
    """Answer when it is let go; `before` notes that it was called."""
    key = scope["query_string"].decode()
    noted[f"begun-{key}"] = True
    await gates[key].wait()
    await send(start())
    await send(body(b"held"))


async def on_streamed(scope, receive, send):
    """Begin, and end when it is let go."""
    key = scope["query_string"].decode()
    await send(start())
    await send(body(b"begun", more=True))
    noted[f"begun-{key}"] = True
    await gates[key].wait()
    await send(body(b"ended"))


async def on_listens(scope, receive, send):
    """Wait until the client has gone, and note it."""
    key = scope["query_string"].decode()
    noted[f"begun-{key}"] = True
    await disconnected(receive)
    noted[f"gone-{key}"] = True


async def on_streams(scope, receive, send):
    """Begin, wait until the client has gone, and note what `send` raises."""
    key = scope["query_string"].decode()
    await send(start())
    await send(body(b"begun", more=True))
    noted[f"begun-{key}"] = True
    await disconnected(receive)
    noted[f"gone-{key}"] = True


async def on_sends(scope, receive, send):
    """Send for ever, and note what ends it."""
    key = scope["query_string"].decode()
    await send(start())
    try:
        while True:
            await send(body(b"x" * 65536, more=True))
            noted[f"sent-{key}"] = noted.get(f"sent-{key}", 0) + 65536
    except OSError as error:
        noted[f"gone-{key}"] = type(error).__name__
        raise


async def on_large(scope, receive, send):
    """Send 8 MB."""
    await send(start())
    for _ in range(128):
        await send(body(b"x" * 65536, more=True))
    await send(body())


async def on_slow_reader(scope, receive, send):
    """Take nothing of the body before it is let go."""
    key = scope["query_string"].decode()
    noted[f"begun-{key}"] = True
    await gates[key].wait()
    size = 0
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        size += len(message["body"])
    await send(start())
    await send(body(b"%d" % (size + len(message["body"]))))


async def on_hints(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await send(start())
    await send(body(b"hinted"))


async def on_trailers(scope, receive, send):
    await send(start(200, trailers=True))
    await send(body(b"trailed"))
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-end", b"2")]})


async def on_path_send(scope, receive, send):
    await send(start())
    await send({"type": "http.response.pathsend", "path": f"{HERE}/file"})


async def on_path_send_wrong(scope, receive, send):
    await send(start())
    await send({"type": "http.response.pathsend", "path": "/nowhere"})


async def on_status(scope, receive, send):
    await send(start(int(scope["query_string"])))
    await send(body())


async def on_not_modified(scope, receive, send):
    await send(start(304, (b"content-length", b"5")))
    await send(body())


async def on_no_content(scope, receive, send):
    await send(start(204, (b"content-length", b"0")))
    await send(body())


async def on_measured(scope, receive, send):
    await send(start(200, (b"content-length", b"5"), (b"date", b"today")))
    await send(body(b"hel", more=True))
    await send(body(b"lo"))


async def on_two_receive(scope, receive, send):
    """Two tasks wait for the same client."""
    key = scope["query_string"].decode()
    both = [task(disconnected(receive)) for _ in range(2)]
    await asyncio.sleep(0)
    noted[f"begun-{key}"] = True
    await asyncio.gather(*both)
    noted[f"gone-{key}"] = True


async def on_impatient(scope, receive, send):
    """Ask again and again, and wait for no answer."""
    key = scope["query_string"].decode()
    await receive()
    noted[f"begun-{key}"] = True
    while True:
        try:
            message = await asyncio.wait_for(receive(), 0.01)
        except TimeoutError:
            continue
        noted[f"gone-{key}"] = message["type"]
        return


# What is wrong, before anything is sent.


async def on_raises(scope, receive, send):
    raise ValueError("the app has failed")


async def on_exits(scope, receive, send):
    raise SystemExit(3)


async def on_interrupts(scope, receive, send):
    raise KeyboardInterrupt


async def on_cancels(scope, receive, send):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def on_base(scope, receive, send):
    raise BaseException("of its own kind")


async def on_returns(scope, receive, send):
    pass


async def on_starts_only(scope, receive, send):
    await send(START)


async def on_body_first(scope, receive, send):
    await send(END)


async def on_two_starts(scope, receive, send):
    await send(START)
    await send(START)


async def on_unknown_message(scope, receive, send):
    await send({"type": "http.response.nonsense"})


async def on_no_type(scope, receive, send):
    await send({})


async def on_no_message(scope, receive, send):
    await send(None)


async def on_trailers_unannounced(scope, receive, send):
    await send(START)
    await send({"type": "http.response.trailers", "headers": []})


async def on_status_999(scope, receive, send):
    await send(start(999))
    await send(END)


async def on_status_101(scope, receive, send):
    await send(start(101))
    await send(END)


async def on_status_text(scope, receive, send):
    await send(start("200"))
    await send(END)


async def on_line_end(scope, receive, send):
    await send(start(200, (b"x", b"y\r\nset-cookie: forged")))
    await send(END)


async def on_line_feed(scope, receive, send):
    await send(start(200, (b"x", b"y\nz")))
    await send(body(b"end", more=True))


async def on_null(scope, receive, send):
    await send(start(200, (b"x", b"\0")))
    await send(END)


async def on_name(scope, receive, send):
    await send(start(200, (b"x y", b"z")))
    await send(END)


async def on_text_field(scope, receive, send):
    await send(start(200, ("x", "y")))
    await send(END)


async def on_text_value(scope, receive, send):
    await send(start(200, (b"x", "y")))
    await send(END)


async def on_no_fields(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": None})
    await send(END)


async def on_text_body(scope, receive, send):
    await send(START)
    await send(body("text"))


async def on_text_part(scope, receive, send):
    await send(START)
    await send(body("text", more=True))


async def on_no_body(scope, receive, send):
    await send(START)
    await send(body(None))


async def on_two_lengths(scope, receive, send):
    await send(start(200, (b"content-length", b"3"), (b"content-length", b"4")))
    await send(END)


async def on_bad_length(scope, receive, send):
    await send(start(200, (b"content-length", b"-3")))
    await send(END)


async def on_endless_length(scope, receive, send):
    await send(start(200, (b"content-length", b"9" * 5000)))
    await send(END)


async def on_too_long(scope, receive, send):
    await send(start(200, (b"content-length", b"2")))
    await send(END)


async def on_too_short(scope, receive, send):
    await send(start(200, (b"content-length", b"4")))
    await send(END)


async def on_too_long_in_parts(scope, receive, send):
    await send(start(200, (b"content-length", b"2")))
    await send(body(b"end", more=True))


# What is wrong after the response has begun.


async def on_raises_late(scope, receive, send):
    await send(START)
    await send(body(b"begun", more=True))
    raise ValueError("the app has failed")


async def on_exits_late(scope, receive, send):
    await send(START)
    await send(body(b"begun", more=True))
    raise SystemExit(3)


async def on_returns_late(scope, receive, send):
    await send(START)
    await send(body(b"begun", more=True))


async def on_too_long_late(scope, receive, send):
    await send(start(200, (b"content-length", b"6")))
    await send(body(b"begun", more=True))
    await send(END)


async def on_too_short_late(scope, receive, send):
    await send(start(200, (b"content-length", b"10")))
    await send(body(b"begun", more=True))
    await send(END)


async def on_text_late(scope, receive, send):
    await send(START)
    await send(body(b"begun", more=True))
    await send(body("text"))


# What is wrong after its end.


async def on_two_ends(scope, receive, send):
    await send(START)
    await send(END)
    await send(END)


async def on_starts_again(scope, receive, send):
    await send(START)
    await send(END)
    await send(START)


async def on_raises_after(scope, receive, send):
    await send(START)
    await send(END)
    raise ValueError("the app has failed")


async def on_receives_for_ever(scope, receive, send):
    """Not even a client that has gone ends it; `sockact` must not stand still."""
    noted["receives"] = True
    while "stop" not in noted:
        await receive()


async def on_sends_for_ever(scope, receive, send):
    """Without a pause, as one that makes its parts from nothing."""
    await send(START)
    part = body(65536 * b"x", more=True)
    while "stop" not in noted:
        await send(part)


async def on_sends_nothing(scope, receive, send):
    await send(START)
    while "stop" not in noted:
        await send(body(more=True))


async def on_leaves_a_task(scope, receive, send):
    """Fail, and let a task answer later."""
    key = scope["query_string"].decode()

    async def later():
        await gates[key].wait()
        try:
            await send(START)
            await send(END)
        except OSError as error:
            noted[f"late-{key}"] = type(error).__name__
        else:
            noted[f"late-{key}"] = "sent"

    task(later())
    if key.startswith("raise"):
        raise ValueError("the app has failed")


async def on_stop(scope, receive, send):
    noted["stop"] = True
    await on_hello(scope, receive, send)


async def answer(send, value):
    await send(start(200, (b"content-type", b"application/json")))
    await send(body(json.dumps(value).encode()))


async def websocket(scope, receive, send):
    key = scope["query_string"].decode()
    path = scope["path"]
    await receive()
    if path == "/refuse":
        await send({"type": "websocket.close"})
    elif path == "/deny":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})
    elif path == "/fails":
        raise ValueError("the app has failed")
    elif path == "/leaves":
        return
    elif path == "/wrong-field":
        await send({"type": "websocket.accept", "headers": [(b"x", b"y\r\nz: z")]})
    elif path == "/body-first":
        await send({"type": "websocket.send", "text": "x"})
    else:
        await accepted(path, key, receive, send)


async def accepted(path, key, receive, send):
    await send({"type": "websocket.accept"})
    noted[f"begun-{key}"] = True
    if path == "/returns":
        return
    if path == "/raises":
        raise ValueError("the app has failed")
    if path == "/close":
        code, _, reason = key.partition(",")
        await send({"type": "websocket.close", "code": int(code), "reason": reason})
        noted[f"close-{code}"] = True
        return
    if path == "/held":
        await gates[key].wait()
    if path == "/two-receive":
        both = [task(receive()) for _ in range(2)]
        noted[f"both-{key}"] = [each["type"] for each in await asyncio.gather(*both)]
        return
    if path == "/wrong-type":
        await send({"type": "websocket.send", "text": 5})
    while (message := await receive())["type"] == "websocket.receive":
        data = message.get("text") or message.get("bytes")
        await send({"type": "websocket.send", "text": f"{len(data or '')}"})
    noted[f"gone-{key}"] = message["code"]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
        return
    path, key = scope["path"], scope["query_string"].decode()
    if path == "/noted":
        await answer(send, noted.get(key))
    elif path == "/let-go":
        gates[key].set()
        await answer(send, True)
    else:
        name = path.strip("/").replace("-", "_") or "hello"
        await globals().get(f"on_{name}", on_hello)(scope, receive, send)
