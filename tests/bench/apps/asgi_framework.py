"""A Starlette app with one middleware."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route


class AddField:
    """Adds a header field to each response."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def add(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-bench", b"1")]
            await send(message)

        await self.app(scope, receive, add)


async def hello(request):
    return PlainTextResponse("hello")


app = Starlette(routes=[Route("/", hello)], middleware=[Middleware(AddField)])
