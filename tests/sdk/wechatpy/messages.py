"""What WeChat encrypts and signs for a client, both ways, with code that is none of ours: wechatpy opens what the stand-in has
encrypted, and wxgate opens what Python has. What is broken is refused by wxgate in one way, whatever is wrong with it.

    WXGATE_BIN=target/release/wxgate .venv/bin/python tests/sdk/wechatpy/messages.py

The messages are random. WXGATE_SEED=… takes those of another run, which has told its seed.
"""

import base64
import hashlib
import json
import os
import random
import secrets
import time
import unittest

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from wechatpy.crypto import WeChatWxaCrypto

from broken import broken_ciphers, broken_signatures
from stack import APP, Gateway, StandIn, client_of

MESSAGES = 1000
BLOCK = 16
SEED = os.environ.get("WXGATE_SEED") or secrets.token_hex(8)

# Of scripts and signs that have tripped somebody up.
PIECES = [
    *"azAZ09 _-.;&<>'\"\\/%+=", *"\u3000小明𠮷éßİﬁ🐼\U0010fffd", "e\u0301", "微信用户", "раура", "نام\u200cمن", "क्षि", "ก็",
    "👨\u200d👩\u200d👧\u200d👦", "🇨🇳", "❤\ufe0f", "👋🏽",
]  # fmt: skip


def text(rng, longest):
    """Something that can be seen, of at most so many characters, and without white space around it."""
    pieces = rng.choices(PIECES, k=rng.randint(1, longest))
    return ("a" + "".join(pieces))[:longest].strip()


def any_character(rng):
    ranges = [(0, 0x80), (0x80, 0xD800), (0xE000, 0x110000)]
    return chr(rng.randrange(*rng.choice(ranges)))


def any_json(rng, depth=3):
    """A value of any kind."""
    kind = rng.randrange(6 if depth else 4)
    if kind == 0:
        return "".join(any_character(rng) for _ in range(rng.randrange(40)))
    if kind == 1:
        return rng.choice([True, False, None])
    if kind == 2:
        return rng.randint(-(2**63), 2**63)
    if kind == 3:
        return text(rng, 32)
    if kind == 4:
        return [any_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {str(any_json(rng, 0)): any_json(rng, depth - 1) for _ in range(rng.randrange(4))}


def written(rng, value):
    """JSON, in one of the ways in which it can be written."""
    space = rng.choice(["", " ", "\n\t"])
    ends = rng.choice(["", " ", "\r\n"])
    return ends + json.dumps(value, ensure_ascii=rng.random() < 0.5, separators=("," + space, ":" + space)) + ends


def encrypt(plain, key, iv):
    """As WeChat's page says: AES-128-CBC with PKCS#7."""
    padder = padding.PKCS7(8 * BLOCK).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES128(base64.b64decode(key)), modes.CBC(iv)).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def length_of(data, key, iv):
    """How long the text in it is, by the padding and nothing else."""
    decryptor = Cipher(algorithms.AES128(base64.b64decode(key)), modes.CBC(base64.b64decode(iv))).decryptor()
    unpadder = padding.PKCS7(8 * BLOCK).unpadder()
    padded = decryptor.update(base64.b64decode(data)) + decryptor.finalize()
    return len(unpadder.update(padded) + unpadder.finalize())


def sign(raw, key):
    return hashlib.sha1((raw + key).encode()).hexdigest()


def told_apart_by(answer):
    """All of a refusal that a client can tell from another."""
    status, headers, body = answer
    ids = {json.loads(body)["requestId"], dict(headers)["x-request-id"]}
    assert len(ids) == 1, answer
    kept = [(name, value) for name, value in headers if name not in ("date", "x-request-id")]
    return status, tuple(kept), body.replace(ids.pop().encode(), b"")


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"the seed is {SEED}", flush=True)
        cls.wechat = StandIn()
        cls.gateway = Gateway(cls.wechat)
        cls.counts = []

    @classmethod
    def tearDownClass(cls):
        cls.gateway.stop()
        cls.wechat.stop()
        print("\n" + "; ".join(cls.counts))

    def setUp(self):
        self.rng = random.Random(f"{SEED} {self._testMethodName}")

    def put(self, token, body):
        return self.gateway.ask("PUT", "/v1/profile", body, token)

    def profile(self, token):
        status, _, body = self.gateway.ask("GET", "/v1/profile", token=token)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def test_what_the_stand_in_encrypts_wechatpy_opens(self):
        rests = set()
        client = client_of(self.wechat, access_token="unused")
        key = client.wxa.code_to_session(self.wechat.code("oAlice"))["session_key"]
        for n in range(MESSAGES):
            info = {"nickName": text(self.rng, 32), "more": any_json(self.rng), "filler": "x" * (n % BLOCK)}
            before = int(time.time())
            told = self.wechat.user_data("oAlice", info)
            opened = WeChatWxaCrypto(key, told["iv"], APP).decrypt_message(told["encryptedData"])
            watermark = opened.pop("watermark")
            self.assertEqual(watermark["appid"], APP)
            self.assertTrue(before <= watermark["timestamp"] <= time.time(), watermark)
            self.assertEqual(opened, {**info, "openId": "oAlice"})
            self.assertEqual(json.loads(told["rawData"]), info)
            self.assertEqual(told["signature"], sign(told["rawData"], key))
            rests.add(length_of(told["encryptedData"], key, told["iv"]) % BLOCK)
        self.assertEqual(rests, set(range(BLOCK)), "every length of padding")
        self.counts.append(f"{MESSAGES} messages of the stand-in opened by wechatpy")

    def test_what_python_encrypts_wxgate_opens(self):
        rests = set()
        token, key = self.gateway.log_in("oBob")
        expected = {}
        for n in range(MESSAGES):
            told = {"nickName": text(self.rng, 32), "city": text(self.rng, 64), "gender": self.rng.randint(1, 2)}
            told["avatarUrl"] = f"https://cdn.example.com/{secrets.token_urlsafe(self.rng.randrange(200))}"
            expected.update(told)
            whole = {**told, "watermark": {"appid": APP, "timestamp": int(time.time())}, "more": any_json(self.rng, 2)}
            if self.rng.random() < 0.5:
                whole["openId"] = "oBob"
            items = list(whole.items())
            self.rng.shuffle(items)
            plain = (written(self.rng, dict(items)) + " " * (n % BLOCK)).encode()
            rests.add(len(plain) % BLOCK)
            iv = self.rng.randbytes(BLOCK)
            proof = {"encryptedData": encrypt(plain, key, iv), "iv": base64.b64encode(iv).decode()}
            status, _, body = self.put(token, proof)
            self.assertEqual(status, 200, (body, plain))
            profile = self.profile(token)
            self.assertEqual({name: profile.get(name) for name in expected}, expected, plain)
            self.assertEqual(profile["fields"]["nickName"]["source"], "decrypted")
        self.assertEqual(rests, set(range(BLOCK)), "every length of padding")
        self.counts.append(f"{MESSAGES} messages of Python opened by wxgate")

    def test_what_python_signs_wxgate_believes(self):
        token, key = self.gateway.log_in("oCarol")
        for _ in range(MESSAGES):
            told = {"nickName": text(self.rng, 32)}
            raw = written(self.rng, told)
            status, _, body = self.put(token, {"rawData": raw, "signature": sign(raw, key)})
            self.assertEqual(status, 200, (body, raw))
            profile = json.loads(body)
            self.assertEqual(profile["nickName"], told["nickName"], raw)
            self.assertEqual(profile["fields"]["nickName"]["source"], "signed")
        self.counts.append(f"{MESSAGES} signatures of Python believed by wxgate")

    def test_whatever_is_broken_has_one_answer(self):
        token, key = self.gateway.log_in("oDave")
        bodies = [*broken_ciphers(self.rng, key, "oDave"), *broken_signatures(key)]
        answers = {}
        for why, body in bodies:
            answer = self.put(token, body)
            self.assertEqual(answer[0], 409, (why, answer))
            answers.setdefault(told_apart_by(answer), []).append(why)
        self.assertEqual(len(answers), 1, answers)
        [(_, _, body)] = answers
        self.assertEqual(json.loads(body)["code"], "session_key_stale")
        self.assertEqual(self.profile(token)["version"], 0, "nothing was changed")
        whole = {"nickName": "Dave", "watermark": {"appid": APP, "timestamp": int(time.time())}}
        iv = bytes(BLOCK)
        good = {"encryptedData": encrypt(json.dumps(whole).encode(), key, iv), "iv": base64.b64encode(iv).decode()}
        self.assertEqual(self.put(token, good)[0], 200, "and a good one is good")
        lenient = sum(opens(key, body) for _, body in bodies)
        self.counts.append(f"{len(bodies)} broken ones refused in one way, of which wechatpy opens {lenient}")


def opens(key, body):
    """Whether wechatpy gives something back for it."""
    try:
        return bool(WeChatWxaCrypto(key, body["iv"], APP).decrypt_message(body["encryptedData"]))
    except Exception:
        return False


if __name__ == "__main__":
    unittest.main(verbosity=2)
