"""A Flask app with one middleware."""

from flask import Flask


class AddField:
    """Adds a header field to each response."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def add(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Bench", "1")], exc_info)

        return self.app(environ, add)


app = Flask(__name__)
app.wsgi_app = AddField(app.wsgi_app)


@app.get("/")
def hello():
    return "hello", {"Content-Type": "text/plain"}
