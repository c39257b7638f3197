"""An app that makes processes, in all the ways there are; each answer is JSON.

/make/WAY            makes a process that sleeps, and answers with its PID; as a C library would: `libc`
/end                 ends the one that multiprocessing has made last, and answers with its exit code
/hurry/COUNT         makes and ends so many, each in one breath; answers with their exit codes
/child/DEED          makes a process that does something else, and answers with how it ends and what it says
/large               a body that no client is sent at once
/ws                  WebSocket: echoes
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import json
import multiprocessing
import os
import pty
import signal
import socketserver
import subprocess
import sys
import time

import sockact

SLEEP = 600
FORK = multiprocessing.get_context("fork")
made = {}


def sleep():
    time.sleep(SLEEP)
    os._exit(0)


def by_process():
    made["last"] = FORK.Process(target=time.sleep, args=(SLEEP,), daemon=True)
    made["last"].start()
    return made["last"].pid


def by_os():
    return os.fork() or sleep()


def by_pty():
    pid, made["terminal"] = pty.fork()
    return pid or sleep()


def by_daemon():
    """Twice, so that its parent is none of ours, and told by a pipe."""
    ours, theirs = os.pipe()
    if not os.fork():
        os.setsid()
        if pid := os.fork():
            os.write(theirs, b"%d" % pid)
            os._exit(0)
        os.close(theirs)
        sleep()
    os.wait()
    with open(ours) as file:
        os.close(theirs)
        return int(file.read())


def by_pool():
    made["pool"] = concurrent.futures.ProcessPoolExecutor(1, mp_context=FORK)
    pid = made["pool"].submit(os.getpid).result()
    made["pool"].submit(time.sleep, SLEEP)
    return pid


def by_subprocess():
    return opened(close_fds=False)


def by_preexec():
    return opened(close_fds=False, preexec_fn=lambda: None)


def by_spawn():
    return os.posix_spawnp("sleep", ["sleep", str(SLEEP)], os.environ)


def by_libc():
    libc = ctypes.PyDLL(None)  # keeps the GIL, which the thread in the child could not get any more
    return libc.fork() or libc.pause()


def opened(**options):
    made["opened"] = subprocess.Popen(["sleep", str(SLEEP)], **options)
    return made["opened"].pid


async def make(way):
    if way == "asyncio":
        made["asyncio"] = await asyncio.create_subprocess_exec("sleep", str(SLEEP), close_fds=False)
        return made["asyncio"].pid
    if way == "thread":
        return await asyncio.to_thread(by_os)
    return globals()[f"by_{way}"]()


def told(deed):
    """Do something in a child, and return how it ends, and what it writes."""
    ours, theirs = os.pipe()
    made["word"] = theirs
    pid = os.fork()
    if not pid:
        return deed()
    os.close(theirs)
    with open(ours) as file:
        said = file.read()
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "said": said}


def say(text):
    os.write(made["word"], str(text).encode())


def exits():
    sys.exit(3)


def raises():
    raise ValueError("a failure of the child")


def returns():
    return {}


def runs_a_loop():
    async def main():
        child = await asyncio.create_subprocess_exec("true")
        await asyncio.sleep(0)
        return await child.wait()

    say(asyncio.run(main()))
    os._exit(0)


def runs_uvloop():
    import uvloop

    async def main():
        child = await asyncio.create_subprocess_exec("true")
        return await child.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        say(runner.run(main()))
    os._exit(0)


def asks():
    try:
        sockact.request_reload()
    except sockact.SockactError as error:
        say(f"role={sockact.role()!r} addresses={sockact.addresses()} {error}")
    os._exit(0)


def serves():
    sockact.serve(app, listen=["127.0.0.1:0"])


def uses_the_loop():
    """As what logs to a queue of the loop does."""
    made["loop"].call_soon_threadsafe(say, "never said")
    say("goes on")
    os._exit(0)


def signals():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    if not (pid := os.fork()):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SLEEP)
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def hurry(count):
    codes = []
    for _ in range(count):
        process = FORK.Process(target=time.sleep, args=(SLEEP,))
        process.start()
        process.terminate()
        process.join(10)
        codes.append(process.exitcode)
    return codes


def answer_to(path):
    _, verb, *rest = path.split("/")
    if verb == "end":
        made["last"].terminate()
        made["last"].join(5)
        return made["last"].exitcode
    if verb == "hurry":
        return hurry(int(rest[0]))
    if verb == "child":
        return told(globals()[rest[0]])
    if verb == "large":
        return "x" * 30_000_000
    return None


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        made["loop"] = asyncio.get_running_loop()
        await receive()
        if way := os.environ.get("FORK_AT_STARTUP"):
            note(await make(way))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "close":
                return
            await send({"type": "websocket.send", "text": message["text"]})
        return
    path = scope["path"]
    if path == "/child/waits":
        never = asyncio.get_running_loop().create_future()
        found = told(dict)
        if not found:
            await never
    elif path.startswith("/make/"):
        found = await make(path.removeprefix("/make/"))
    elif path.startswith("/thread/"):
        found = await asyncio.to_thread(answer_to, path.removeprefix("/thread"))
    else:
        found = answer_to(path)
    body = json.dumps({"pid": os.getpid(), "found": found}).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    found = asyncio.run(make(path.removeprefix("/make/"))) if path.startswith("/make") else answer_to(path)
    body = json.dumps({"pid": os.getpid(), "found": found}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def generator(environ, start_response):
    """The same as `wsgi`, but as it is asked for the parts of the response."""
    parts = []

    def started(status, headers):
        parts.extend([status, headers])

    body = wsgi(environ, started)
    start_response(*parts)
    yield from body


async def stream(reader, writer):
    while line := await reader.readline():
        path = line.decode().strip()
        found = await make(path.removeprefix("/make/")) if path.startswith("/make") else answer_to(path)
        writer.write(json.dumps({"pid": os.getpid(), "found": found}).encode() + b"\n")
        if path == "/bye":
            return


def connection(sock):
    with sock.makefile("rwb", buffering=0) as file:
        for line in file:
            path = line.decode().strip()
            found = asyncio.run(make(path[6:])) if path.startswith("/make") else answer_to(path)
            file.write(json.dumps({"pid": os.getpid(), "found": found}).encode() + b"\n")
            if path == "/bye":
                return
            if path == "/fail":
                raise ValueError("a handler that fails")


async def awaited(sock):
    loop = asyncio.get_running_loop()
    while line := await loop.sock_recv(sock, 100):
        path = line.decode().strip()
        found = await make(path[6:]) if path.startswith("/make") else answer_to(path)
        await loop.sock_sendall(sock, json.dumps({"pid": os.getpid(), "found": found}).encode() + b"\n")
        if path == "/bye":
            return


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        connection(self.request)


def closes(sock):
    """End the connection oneself, though a child has it."""
    with sock:
        sock.sendall(b"%d\n" % by_process())


async def closes_awaited(sock):
    closes(sock)


def lends(sock):
    """Answer, in a child, on the connection that the handler was given."""
    if not os.fork():
        sock.sendall(b"from the child\n")
        os._exit(0)
    os.wait()


def note(pid):
    with open(f"made.{pid}", "w"):
        pass


if way := os.environ.get("FORK_AT_IMPORT"):
    note(asyncio.run(make(way)))

if way := os.environ.get("FORK_IN_HOOK"):

    @sockact.hooks.on_start
    def make_in_a_thread():
        note(globals()[f"by_{way}"]())

    @sockact.hooks.on_ready
    async def make_in_the_loop():
        note(globals()[f"by_{way}"]())


@sockact.hooks.on_stop
@sockact.hooks.on_exit
def leave_a_trace():
    with contextlib.suppress(OSError), open(f"stopped.{os.getpid()}", "w"):
        pass
