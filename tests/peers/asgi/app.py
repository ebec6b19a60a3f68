"""A backend in Python, in bare ASGI: what it does with requests depends on their path."""

import asyncio
import hashlib
import json
import pathlib

PAYLOAD = bytes(n % 251 for n in range(1_000_000))

# What has happened so far, for those who ask about it later.
heard = asyncio.Queue()
left = asyncio.Queue()


async def app(scope, receive, send):
    kinds = {"lifespan": lifespan, "http": http, "websocket": chat}
    await kinds[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    scope["state"]["started"] = True
    await send({"type": "lifespan.startup.complete"})
    await receive()
    pathlib.Path("stopped").touch()
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope, receive, send):
    answers = {
        "/own/me": me,
        "/own/upload": upload,
        "/own/talk": talk,
        "/own/stream": stream,
        "/own/heard": hear,
        "/own/left": who_left,
        "/own/payload": payload,
    }
    await answers.get(scope["path"], bare)(scope, receive, send)


def header(scope, name):
    values = [value.decode() for key, value in scope["headers"] if key == name.encode()]
    assert len(values) <= 1, values
    return values[0] if values else None


async def head(send, status, *lines):
    headers = [[name.encode(), value.encode()] for name, value in lines]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def piece(send, body, more=False):
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def say(send, value):
    await head(send, 200, ("content-type", "application/json"))
    await piece(send, json.dumps(value).encode())


async def pieces_of_body(receive):
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away in the middle of its body")
        yield message["body"]
        if not message["more_body"]:
            return


async def me(scope, _receive, send):
    names = ["x-wx-openid", "x-forwarded-proto", "expect", "authorization"]
    told = {name: header(scope, name) for name in names}
    await say(send, {**told, "started": scope["state"]["started"], "http": scope["http_version"]})


async def upload(scope, receive, send):
    body = hashlib.sha256()
    length = 0
    async for part in pieces_of_body(receive):
        body.update(part)
        length += len(part)
    framing = [header(scope, "content-length"), header(scope, "transfer-encoding")]
    await say(send, {"length": length, "sha256": body.hexdigest(), "framing": framing})


async def talk(_scope, receive, send):
    """Answers each piece of a body before the next one has come."""
    await head(send, 200)
    async for part in pieces_of_body(receive):
        if part:
            await piece(send, part.upper(), more=True)
    await piece(send, b"")


async def stream(scope, receive, send):
    """Events, each sent when the one before it was heard of; and who no longer listens is noticed."""
    await receive()
    await head(send, 200, ("content-type", "text/event-stream"))
    gone = asyncio.ensure_future(receive())
    for n in range(3):
        await piece(send, f"id: {n}\ndata: for {header(scope, 'x-wx-openid')}\n\n".encode(), more=True)
        next_one = asyncio.ensure_future(heard.get())
        await asyncio.wait([gone, next_one], return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            next_one.cancel()
            return left.put_nowait(gone.result()["type"])
    gone.cancel()
    await piece(send, b"")


async def hear(_scope, _receive, send):
    heard.put_nowait(None)
    await say(send, None)


async def who_left(_scope, _receive, send):
    await say(send, await left.get())


async def payload(scope, _receive, send):
    if header(scope, "if-none-match") == '"1"':
        await head(send, 304, ("etag", '"1"'))
        return await piece(send, b"")
    await head(send, 200, ("content-length", str(len(PAYLOAD))), ("etag", '"1"'))
    await piece(send, b"" if scope["method"] == "HEAD" else PAYLOAD)


async def bare(scope, _receive, send):
    """The status that the path ends in, and nothing else."""
    await head(send, int(scope["path"].rsplit("/", 1)[-1]))
    await piece(send, b"")


async def chat(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return left.put_nowait(message["code"])
        if message.get("text") == "bye":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as you say"})
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": f"{header(scope, 'x-wx-openid')}: {message['text']}"})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
