"""A small Flask backend behind the gateway. It knows its users by one header and nothing else.

Usage: python backend.py PORT
"""

import hashlib
import sys
from collections import defaultdict

from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
orders = defaultdict(list)


class HonestHandler(WSGIRequestHandler):
    """Keeps connections open, and the header lines as they came: WSGI merges some of them and drops others."""

    protocol_version = "HTTP/1.1"

    def make_environ(self):
        environ = super().make_environ()
        environ["backend.header_lines"] = self.headers.items()
        return environ

    def log_request(self, code="-", size="-"):
        pass


def caller():
    """Who is calling; None for a stranger."""
    return request.headers.get("X-WX-OPENID")


@app.get("/health")
def health():
    return {"ok": True}


@app.get("/orders")
def list_orders():
    return {"openid": caller(), "orders": orders[caller()]}


@app.post("/orders")
def add_order():
    orders[caller()].append(request.get_json()["item"])
    return list_orders()


@app.post("/photos")
def add_photo():
    photo = request.files["photo"].read()
    return {"openid": caller(), "bytes": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}


@app.get("/identity")
@app.get("/public/identity")
@app.get("/open/identity")
def identity():
    """Every header line that could tell a backend who calls, spelled as it arrived."""
    lines = [[name, value] for name, value in request.environ["backend.header_lines"] if names_somebody(name)]
    return {"openid": caller(), "lines": lines}


def names_somebody(name):
    name = name.lower().replace("_", "-")
    return any(word in name for word in ("wx", "openid", "appid", "unionid", "authorization", "cookie"))


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=HonestHandler).serve_forever()
