"""Django, for both of its interfaces."""

from __future__ import annotations

import json as standard_json
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path as route
from django.views.decorators.http import require_POST

from tests.conformance.apps.common import LARGE, PARTS, WantedError

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="x",
    MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@require_POST
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello " + request.POST["name"])


@require_POST
def json(request: HttpRequest) -> HttpResponse:
    return JsonResponse(standard_json.loads(request.body))


def fails(request: HttpRequest) -> HttpResponse:
    raise WantedError


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


async def parts() -> AsyncIterator[str]:
    for part in PARTS:
        yield part


def stream(request: HttpRequest) -> StreamingHttpResponse:
    of_asgi = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(parts() if of_asgi else iter(PARTS), content_type="text/plain")


def length(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.body)))


def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse(LARGE, content_type="application/octet-stream")


def query(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.GET["name"])


def path(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(name)


urlpatterns: list[Any] = [
    *(route(view.__name__, view) for view in (plain, form, json, fails, nothing, stream)),
    *(route(view.__name__, view) for view in (length, large, query)),
    route("path/<str:name>", path),
]
