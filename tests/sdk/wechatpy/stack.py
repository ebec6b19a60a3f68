"""What the stories of this folder stand on: the stand-in of WeChat and wxgate, each a process, and a wire between the two that
listens for session_keys, which nobody else ever gets to see.
"""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from wechatpy import WeChatClient

APP = "wx4f4bc4dec97d474b"
SECRET = "the secret of a Mini Program that does not exist"
WECHAT = "https://api.weixin.qq.com"
LIMIT = 20

CONFIG = """
[server]
listen = ["127.0.0.1:{gateway}"]
workers = 1
[log]
access = false
[admin]
listen = "127.0.0.1:{admin}"
[[apps]]
app_id = "{app}"
secret = {{ env = "WX_APP_SECRET" }}
api_base = "http://127.0.0.1:{wire}"
[limits]
verify_per_ip = "100000/min"
profile_per_user = "100000/min"
[[upstreams]]
name = "nobody"
servers = ["http://127.0.0.1:1"]
[[routes]]
path = "/"
upstream = "nobody"
"""


class StandIn:
    """`wxgate simulate`, and what a phone with WeChat on it does there."""

    def __init__(self):
        [self.port] = free_ports(1)
        self.base = f"http://127.0.0.1:{self.port}"
        command = ["simulate", "--listen", f"127.0.0.1:{self.port}", "--app", f"{APP}={SECRET}"]
        self.process = start(command, self.port)

    def control(self, what, body=None, method="POST"):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.base}/_sim/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def code(self, openid, **more):
        """What wx.login gives to this user."""
        return self.control("codes", {"appId": APP, "openid": openid, **more})["code"]

    def user_data(self, openid, info):
        """What wx.getUserInfo gives to a client whose user has logged in."""
        return self.control("user_data", {"appId": APP, "openid": openid, "userInfo": info})

    def next_fault(self, fault, **more):
        self.control("faults", {"fault": fault, **more})

    def reset(self):
        self.control("reset")

    def stop(self):
        stop(self.process)


class ToStandIn(requests.adapters.HTTPAdapter):
    """Sends to the stand-in what is meant for WeChat, so that not a line of wechatpy has to be another."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def send(self, request, **how):
        request.url = request.url.replace(WECHAT, self.base, 1)
        return super().send(request, **how)


def client_of(stand_in, app=APP, secret=SECRET, **how):
    """wechatpy as it comes, with the stand-in for WeChat."""
    client = WeChatClient(app, secret, timeout=LIMIT, **how)
    client._http.mount(WECHAT, ToStandIn(stand_in.base))
    return client


class Gateway:
    """wxgate, whose WeChat is the stand-in at the other end of a wire."""

    def __init__(self, stand_in):
        self.stand_in = stand_in
        self.wire = Wire(stand_in)
        ports = dict(zip(["gateway", "admin"], free_ports(2)))
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "gateway.toml"
        config.write_text(CONFIG.format(app=APP, wire=self.wire.port, **ports), encoding="utf-8")
        self.process = start(["--config", config], ports["gateway"])
        self.connection = http.client.HTTPConnection("127.0.0.1", ports["gateway"], timeout=LIMIT)

    def log_in(self, openid):
        """The token and the session_key of a new session."""
        status, _, body = self.ask("POST", "/v1/verify", {"jsCode": self.stand_in.code(openid)})
        assert status == 200, body
        return json.loads(body)["token"], self.wire.keys[openid]

    def ask(self, method, path, body=None, token=None):
        """The status, the headers and the body of an answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def stop(self):
        self.connection.close()
        stop(self.process)
        self.wire.stop()
        self.folder.cleanup()


class Wire:
    """Passes on what wxgate asks WeChat, and what that answers, and remembers the keys."""

    def __init__(self, stand_in):
        keys = self.keys = {}

        class Pass(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with urllib.request.urlopen(stand_in.base + self.path, timeout=LIMIT) as answer:
                    body = answer.read()
                told = json.loads(body)
                if "session_key" in told:
                    keys[told["openid"]] = told["session_key"]
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Pass)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class AtTheStandIn(unittest.TestCase):
    """Stories that share one stand-in, each of which begins as if it had just started."""

    @classmethod
    def setUpClass(cls):
        cls.wechat = StandIn()

    @classmethod
    def tearDownClass(cls):
        cls.wechat.stop()

    def setUp(self):
        self.wechat.reset()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(command, port):
    env = {**os.environ, "WX_APP_SECRET": SECRET}
    process = subprocess.Popen([os.environ["WXGATE_BIN"], *command], env=env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise AssertionError(f"nothing listens at port {port}")


def stop(process):
    process.terminate()
    assert process.wait(LIMIT) == 0, "wxgate ends cleanly"
