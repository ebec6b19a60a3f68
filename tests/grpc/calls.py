"""Calls of gRPC through wxgate, with the client and the server of grpcio: what passes, and how a refusal is read.

    WXGATE_BIN=target/release/wxgate .venv/bin/python tests/grpc/calls.py

Messages are bytes here, so that nothing has to be generated.
"""

import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from concurrent import futures

import grpc

START_LIMIT = 20
STOP_LIMIT = 20
OPENID = "oAlice"

CONFIG = """
[server]
listen = ["127.0.0.1:{gateway}"]
workers = 1
[server.http2]
prior_knowledge = true
[log]
access = false
[admin]
listen = "127.0.0.1:{admin}"
[[apps]]
app_id = "wx4f4bc4dec97d474b"
secret = {{ env = "WX_APP_SECRET" }}
api_base = "http://127.0.0.1:{wechat}"
[[upstreams]]
name = "calls"
servers = ["h2c://127.0.0.1:{backend}"]
[[upstreams]]
name = "nobody"
servers = ["h2c://127.0.0.1:{nobody}"]
[[routes]]
path = "/"
upstream = "calls"
[[routes]]
path = "/open.Words/"
upstream = "calls"
auth = "none"
[[routes]]
path = "/gone.Words/"
upstream = "nobody"
auth = "none"
"""


class Words(grpc.GenericRpcHandler):
    """A service of any name, with a method of each kind."""

    def __init__(self):
        self.cancelled = threading.Event()

    def service(self, details):
        method = details.method.rsplit("/", 1)[-1]
        return {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Join": grpc.stream_unary_rpc_method_handler(lambda words, _: b" ".join(words)),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Caller": grpc.unary_unary_rpc_method_handler(self.caller),
        }.get(method)

    @staticmethod
    def echo(word, context):
        context.set_trailing_metadata((("x-last-words", "bye"),))
        return word

    @staticmethod
    def count(word, _context):
        for n in range(int(word)):
            yield b"%d " % n * 1000

    @staticmethod
    def talk(words, _context):
        for word in words:
            yield word.upper()

    @staticmethod
    def fail(_word, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 天")

    def sleep(self, _word, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(STOP_LIMIT)
        return b""

    @staticmethod
    def caller(_word, context):
        return dict(context.invocation_metadata()).get("x-wx-openid", "nobody").encode()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until_open(port, process):
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens at port {port}")


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = ["gateway", "admin", "wechat", "nobody"]
        ports = dict(zip(names, free_ports(len(names))))
        cls.words = Words()
        cls.server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), handlers=[cls.words])
        ports["backend"] = cls.server.add_insecure_port("127.0.0.1:0")
        cls.server.start()
        cls.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(cls.folder.name) / "gateway.toml"
        config.write_text(CONFIG.format(**ports), encoding="utf-8")
        env = {**os.environ, "WX_APP_SECRET": "the secret of a Mini Program that does not exist"}
        cls.gateway = subprocess.Popen([os.environ["WXGATE_BIN"], "--config", config], env=env)
        until_open(ports["gateway"], cls.gateway)
        cls.channel = grpc.insecure_channel(f"127.0.0.1:{ports['gateway']}")

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.gateway.terminate()
        assert cls.gateway.wait(STOP_LIMIT) == 0, "wxgate ends cleanly"
        cls.server.stop(None)
        cls.folder.cleanup()

    def call(self, word, method="Echo", service="open.Words", **how):
        return self.channel.unary_unary(f"/{service}/{method}")(word, timeout=STOP_LIMIT, **how)

    def refusal(self, *args, **how):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(*args, **how)
        return caught.exception

    def test_one_message_each_way(self):
        for word in [b"", b"hello", b"x" * 1_000_000]:
            answer, call = self.channel.unary_unary("/open.Words/Echo").with_call(word, timeout=STOP_LIMIT)
            self.assertEqual(answer, word)
            self.assertEqual(call.code(), grpc.StatusCode.OK)
            self.assertIn(("x-last-words", "bye"), [tuple(pair) for pair in call.trailing_metadata()])

    def test_many_messages_from_the_server(self):
        messages = list(self.channel.unary_stream("/open.Words/Count")(b"500", timeout=STOP_LIMIT))
        self.assertEqual([message.split()[0] for message in messages], [b"%d" % n for n in range(500)])

    def test_many_messages_from_the_client(self):
        words = [b"word%d" % n for n in range(2000)]
        joined = self.channel.stream_unary("/open.Words/Join")(iter(words), timeout=STOP_LIMIT)
        self.assertEqual(joined, b" ".join(words))

    def test_each_side_goes_on_when_it_has_heard_the_other(self):
        answers = []
        heard = threading.Semaphore(1)

        def words():
            for word in [b"one", b"two", b"three"]:
                heard.acquire()
                yield word

        for answer in self.channel.stream_stream("/open.Words/Talk")(words(), timeout=STOP_LIMIT):
            answers.append(answer)
            heard.release()
        self.assertEqual(answers, [b"ONE", b"TWO", b"THREE"])

    def test_many_calls_at_once(self):
        call = self.channel.unary_unary("/open.Words/Echo")
        calls = [call.future(b"%d" % n, timeout=STOP_LIMIT) for n in range(300)]
        self.assertEqual([each.result() for each in calls], [b"%d" % n for n in range(300)])

    def test_a_failure_of_the_server_is_told_in_its_own_words(self):
        refusal = self.refusal(b"", "Fail")
        self.assertEqual((refusal.code(), refusal.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not today: 天"))
        self.assertEqual(self.refusal(b"", "NoSuchMethod").code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_deadline_takes_the_call_back_from_the_server(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel.unary_unary("/open.Words/Sleep")(b"", timeout=0.5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertTrue(self.words.cancelled.wait(STOP_LIMIT))

    def test_nobody_says_who_he_is(self):
        self.assertEqual(self.call(b"", "Caller", metadata=(("x-wx-openid", OPENID),)), b"nobody")

    def test_what_wxgate_refuses_has_a_status_of_grpc(self):
        self.assertEqual(self.refusal(b"", service="closed.Words").code(), grpc.StatusCode.UNAUTHENTICATED)
        bad = (("authorization", "Bearer wxg_nothing"),)
        self.assertEqual(self.refusal(b"", service="closed.Words", metadata=bad).code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.refusal(b"", service="gone.Words").code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
