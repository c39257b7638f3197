"""A WSGI app that does by request what an app should not do, and what not every server expects.

Each function `on_...` is a path; /noted?KEY and /let-go?KEY as in contrary_asgi.py.
"""

import collections
import io
import json
import os
import threading
import time

HERE = os.getcwd()

noted = {}
gates = collections.defaultdict(threading.Event)


def begin(start_response, status="200 OK", *fields):
    return start_response(status, list(fields))


def on_hello(environ, start_response):
    begin(start_response)
    return [b"hello"]


def on_echo(environ, start_response):
    data = environ["wsgi.input"].read()
    begin(start_response)
    return [data]


def on_environ(environ, start_response):
    told = {name: value for name, value in environ.items() if isinstance(value, str | bool)}
    begin(start_response)
    return [json.dumps(told).encode()]


def on_held(environ, start_response):
    key = environ["QUERY_STRING"]
    noted[f"begun-{key}"] = True
    gates[key].wait()
    begin(start_response)
    return [b"held"]


def on_streamed(environ, start_response):
    key = environ["QUERY_STRING"]
    begin(start_response)
    yield b"begun"
    noted[f"begun-{key}"] = True
    gates[key].wait()
    yield b"ended"


class Endless:
    def __init__(self, key):
        self.key = key

    def __iter__(self):
        return self

    def __next__(self):
        noted[f"sent-{self.key}"] = noted.get(f"sent-{self.key}", 0) + 65536
        return 65536 * b"x"

    def close(self):
        noted[f"gone-{self.key}"] = True


def on_sends(environ, start_response):
    begin(start_response)
    return Endless(environ["QUERY_STRING"])


def on_parts(environ, start_response):
    begin(start_response)
    return iter([b"one", b"", b"two"])


def on_large(environ, start_response):
    begin(start_response)
    for _ in range(128):
        yield 65536 * b"x"


def on_file(environ, start_response):
    begin(start_response)
    return environ["wsgi.file_wrapper"](open(f"{HERE}/file", "rb"), 4096)


def on_file_from_the_middle(environ, start_response):
    begin(start_response)
    file = open(f"{HERE}/file", "rb")  # noqa: SIM115 - the server closes it
    file.seek(299_990)
    return environ["wsgi.file_wrapper"](file)


def on_part_of_a_file(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "10"))
    return environ["wsgi.file_wrapper"](open(f"{HERE}/file", "rb"))


def on_no_file(environ, start_response):
    begin(start_response)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"no file"))


def on_shrunk_file(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "400000"))
    return environ["wsgi.file_wrapper"](open(f"{HERE}/file", "rb"))


def on_status(environ, start_response):
    begin(start_response, environ["QUERY_STRING"].replace("_", " "))
    return []


def on_not_modified(environ, start_response):
    begin(start_response, "304 Not Modified", ("Content-Length", "5"))
    return []


def on_no_content(environ, start_response):
    begin(start_response, "204 No Content")
    return []


# What is wrong, before anything is sent.


def on_raises(environ, start_response):
    raise ValueError("the app has failed")


def on_exits(environ, start_response):
    raise SystemExit(3)


def on_interrupts(environ, start_response):
    raise KeyboardInterrupt


def on_base(environ, start_response):
    raise BaseException("of its own kind")


def on_none(environ, start_response):
    begin(start_response)


def on_text(environ, start_response):
    begin(start_response)
    return "text"


def on_list_of_text(environ, start_response):
    begin(start_response)
    return ["text"]


def on_list_of_texts(environ, start_response):
    begin(start_response)
    return ["a", "text"]


def on_list_of_none(environ, start_response):
    begin(start_response)
    return [None]


def on_number(environ, start_response):
    begin(start_response)
    return 5


def on_list_of_numbers(environ, start_response):
    begin(start_response)
    return [5]


def on_yields_text(environ, start_response):
    begin(start_response)
    yield "text"


def on_no_start(environ, start_response):
    return [b"no start"]


def on_no_start_generator(environ, start_response):
    yield b"no start"


def on_two_starts(environ, start_response):
    begin(start_response)
    begin(start_response)
    return [b"end"]


def on_number_status(environ, start_response):
    begin(start_response, 200)
    return [b"end"]


def on_word_status(environ, start_response):
    begin(start_response, "OK")
    return [b"end"]


def on_status_999(environ, start_response):
    begin(start_response, "999 Odd")
    return [b"end"]


def on_status_101(environ, start_response):
    begin(start_response, "101 Switching Protocols")
    return [b"end"]


def on_reason(environ, start_response):
    begin(start_response, "200 OK\r\nX: y")
    return [b"end"]


def on_line_end(environ, start_response):
    begin(start_response, "200 OK", ("X", "y\r\nZ: z"))
    return [b"end"]


def on_wide(environ, start_response):
    begin(start_response, "200 OK", ("X", "\u20ac"))
    return [b"end"]


def on_bytes_field(environ, start_response):
    begin(start_response, "200 OK", (b"X", b"y"))
    return [b"end"]


def on_endless_length(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", 5000 * "9"))
    return [b"end"]


def on_too_long(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "2"))
    return [b"end"]


def on_too_long_in_parts(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "2"))
    yield b"end"


def on_too_short(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "4"))
    return [b"end"]


class Breaks:
    def __init__(self, *, first=b"", close=False):
        self.first = first
        self.failing_close = close

    def __iter__(self):
        if self.first:
            yield self.first
        raise ValueError("the app has failed")

    def close(self):
        if self.failing_close:
            raise ValueError("its close too")


def on_next_raises(environ, start_response):
    begin(start_response)
    return Breaks()


# What is wrong after the response has begun.


def on_next_raises_late(environ, start_response):
    begin(start_response)
    return Breaks(first=b"begun")


def on_next_and_close_raise(environ, start_response):
    begin(start_response)
    return Breaks(first=b"begun", close=True)


def on_text_late(environ, start_response):
    begin(start_response)
    yield b"begun"
    yield "text"


def on_too_long_late(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "6"))
    yield b"begun"
    yield b"end"


def on_too_short_late(environ, start_response):
    begin(start_response, "200 OK", ("Content-Length", "10"))
    yield b"begun"
    yield b"end"


def on_writes_late(environ, start_response):
    """Write after the end of the response."""
    key = environ["QUERY_STRING"]
    write = begin(start_response)

    def later():
        gates[key].wait()
        try:
            write(b"late")
        except OSError as error:
            noted[f"late-{key}"] = type(error).__name__
        else:
            noted[f"late-{key}"] = "written"

    threading.Thread(target=later, daemon=True).start()
    return [b"end"]


def on_close_raises(environ, start_response):
    begin(start_response)

    class Parts(list):
        def close(self):
            raise ValueError("its close")

    return Parts([b"end"])


def on_forks(environ, start_response):
    """Let a child return into the server."""
    if not (pid := os.fork()):
        begin(start_response)
        return [b"of the child"]
    os.waitpid(pid, 0)
    begin(start_response)
    return [b"of the parent"]


def on_keeps(environ, start_response):
    """Leave a child that holds a copy of the connection."""
    if not (pid := os.fork()):
        time.sleep(30)
        os._exit(0)
    begin(start_response)
    return [b"%d" % pid]


def answer(start_response, value):
    begin(start_response)
    return [json.dumps(value).encode()]


def app(environ, start_response):
    path, key = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/noted":
        return answer(start_response, noted.get(key))
    if path == "/let-go":
        gates[key].set()
        return answer(start_response, True)
    name = path.strip("/").replace("-", "_") or "hello"
    return globals().get(f"on_{name}", on_hello)(environ, start_response)
