"""Django by WSGI."""

from django.core.wsgi import get_wsgi_application

from tests.conformance.apps import django_views  # noqa: F401 - which configures Django

app = get_wsgi_application()
