"""Messages as WeChat never sends them, each with a word for what is wrong with it.

The padding is laid on by hand here: a library makes none that is wrong.
"""

import base64
import hashlib
import json
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from stack import APP

BLOCK = 16
HOUR = 3600


def broken_ciphers(rng, key, openid):
    """Pairs of a word and a body for PUT /v1/profile."""
    right = base64.b64decode(key)
    iv = rng.randbytes(BLOCK)
    good = json.dumps(message()).encode()

    def sealed(padded, key=right, iv=iv):
        return body(base64.b64encode(encrypted(padded, key, iv)).decode(), base64.b64encode(iv).decode())

    yield "another key", sealed(padded(good), rng.randbytes(BLOCK))
    for why, wrong in wrong_paddings(good):
        yield why, sealed(wrong)
    for why, text in wrong_texts(openid):
        yield why, sealed(padded(text))
    yield from wrong_letters(encrypted(padded(good), right, iv), iv)


def broken_signatures(key):
    raw = json.dumps({"nickName": "小明"}, ensure_ascii=False)
    right = hashlib.sha1((raw + key).encode()).hexdigest()
    decoded = hashlib.sha1(raw.encode() + base64.b64decode(key)).hexdigest()
    for why, text, signature in [
        ("written anew", json.dumps({"nickName": "小明"}), right),
        ("a space more", raw + " ", right),
        ("the key decoded", raw, decoded),
        ("the key before it", raw, hashlib.sha1((key + raw).encode()).hexdigest()),
        ("cut short", raw, right[:-1]),
        ("a letter more", raw, right + "0"),
        ("empty", raw, ""),
        ("SHA-256", raw, hashlib.sha256((raw + key).encode()).hexdigest()),
        ("full-width digits", raw, right.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})),
        ("a list", "[]", hashlib.sha1(("[]" + key).encode()).hexdigest()),
        ("no JSON", "nickName", hashlib.sha1(("nickName" + key).encode()).hexdigest()),
    ]:
        yield f"signature: {why}", {"rawData": text, "signature": signature}


def message(**more):
    return {"nickName": "小明", "watermark": {"appid": APP, "timestamp": int(time.time())}, **more}


def wrong_paddings(good):
    """For each length of padding each of its bytes wrong, and every last byte that is no length."""
    for length in range(1, BLOCK + 1):
        text = good + b" " * ((-len(good) - length) % BLOCK)
        right = padded(text)
        for back in range(2, length + 1):
            wrong = bytearray(right)
            wrong[-back] ^= 1
            yield f"padding of {length}: byte {back} from the end", bytes(wrong)
    blocks = good + b" " * (-len(good) % BLOCK)
    for last in [0, *range(BLOCK + 1, 256)]:
        yield f"padding says {last}", blocks[:-1] + bytes([last])
    yield "no padding", blocks
    # What PKCS7 would be for blocks of 32 bytes, which some libraries think of and take.
    for length in range(BLOCK + 1, 2 * BLOCK + 1):
        text = good + b" " * ((-len(good) - length) % BLOCK)
        yield f"padding of {length}, all its bytes alike", text + bytes([length]) * length


def wrong_texts(openid):
    now = int(time.time())
    for why, value in [
        ("no watermark", {"nickName": "a"}),
        ("watermark null", message(watermark=None)),
        ("watermark a list", message(watermark=[APP, now])),
        ("another app", message(watermark={"appid": "wx0000000000000000", "timestamp": now})),
        ("the app in capitals", message(watermark={"appid": APP.upper(), "timestamp": now})),
        ("a look-alike of the app", message(watermark={"appid": APP.replace("c", "с"), "timestamp": now})),
        ("no time", message(watermark={"appid": APP})),
        ("time as text", message(watermark={"appid": APP, "timestamp": str(now)})),
        ("time below zero", message(watermark={"appid": APP, "timestamp": -1})),
        ("two hours old", message(watermark={"appid": APP, "timestamp": now - 2 * HOUR})),
        ("another user's", message(openId=openid + "x")),
        ("a list", [message()]),
        ("a text", json.dumps(message())),
        ("a number", 7),
        ("a nickname that is none", message(nickName=7)),
        ("a nickname that is deep", message(nickName=json.loads("[" * 200 + "]" * 200))),
    ]:
        yield why, json.dumps(value).encode()
    good = json.dumps(message())
    for why, text in [
        ("nothing", b""),
        ("half", good[: len(good) // 2].encode()),
        ("two", (good + good).encode()),
        ("a byte order mark", b"\xef\xbb\xbf" + good.encode()),
        ("no UTF-8", good.encode().replace(b"nickName", b"nick\xffame")),
        ("UTF-16", good.encode("utf-16")),
        ("a NUL in it", good.replace("小明", "\0").encode().replace(b"\\u5c0f\\u660e", b"\0")),
        ("half a surrogate", good.replace("\\u5c0f", "\\ud83d").encode()),
        ("a field twice", good.replace("{", '{"nickName":"b",', 1).encode()),
        ("single quotes", good.replace('"', "'").encode()),
        ("a comma too many", good.replace("}}", "},}").encode()),
    ]:
        yield why, text


def wrong_letters(cipher, iv):
    """What is wrong before anything is decrypted, or by whole blocks."""
    letters = base64.b64encode(iv).decode()
    for why, data in [
        ("nothing", b""), ("a byte", cipher[:1]), ("a block", cipher[:BLOCK]), ("a byte less", cipher[:-1]),
        ("a byte more", cipher + b"\0"), ("a block more", cipher + bytes(BLOCK)), ("a block less", cipher[:-BLOCK]),
        ("no first block", cipher[BLOCK:]), ("twice", cipher + cipher),
        ("two blocks changed places", cipher[BLOCK : 2 * BLOCK] + cipher[:BLOCK] + cipher[2 * BLOCK :]),
    ]:  # fmt: skip
        yield f"cipher: {why}", body(base64.b64encode(data).decode(), letters)
    good = base64.b64encode(cipher).decode()
    for why, text in [
        ("a space", " " + good), ("a line end", good + "\n"), ("no Base64", "!" + good[1:]),
        ("a letter less", good[:-1]), ("not ASCII", "中" + good[1:]),
    ]:  # fmt: skip
        yield f"letters: {why}", body(text, letters)
    for length in [0, 1, BLOCK - 1, BLOCK + 1, 2 * BLOCK]:
        yield f"an iv of {length}", body(good, base64.b64encode(bytes(length)).decode())
    yield "another iv", body(good, base64.b64encode(bytes(BLOCK)).decode())
    yield "an iv that is no Base64", body(good, "!" + letters[1:])


def body(data, iv):
    return {"encryptedData": data, "iv": iv}


def padded(text):
    length = BLOCK - len(text) % BLOCK
    return text + bytes([length]) * length


def encrypted(padded, key, iv):
    encryptor = Cipher(algorithms.AES128(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()
