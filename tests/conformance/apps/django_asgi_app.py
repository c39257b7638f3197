"""Django by ASGI."""

from django.core.asgi import get_asgi_application

from tests.conformance.apps import django_views  # noqa: F401 - which configures Django

app = get_asgi_application()
