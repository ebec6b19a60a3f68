"""Orders, in Flask. Whose they are says wxgate, in one header.

Usage: python app.py [PORT]
"""

import sys
from collections import defaultdict

from flask import Flask, request

app = Flask(__name__)
orders = defaultdict(list)


@app.get("/orders")
def show():
    openid = request.headers["X-WX-OPENID"]
    return {"openid": openid, "orders": orders[openid]}


@app.post("/orders")
def order():
    item = request.get_json().get("item")
    if not isinstance(item, str) or not 0 < len(item) <= 100:
        return {"error": "An order is of 1 to 100 characters."}, 422
    orders[request.headers["X-WX-OPENID"]].append(item)
    return show()


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 3001)
