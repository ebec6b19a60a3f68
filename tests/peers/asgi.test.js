// A backend in Python behind the gateway: bare ASGI, served by uvicorn.
//
//   cargo build --release && npm ci --prefix tests/miniprogram
//   python3 -m venv .venv && .venv/bin/pip install -r tests/peers/asgi/requirements.txt
//   WXGATE_BIN=target/release/wxgate WXGATE_PYTHON=.venv/bin/python node --test tests/peers/asgi.test.js

'use strict';

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');

const { WebSocket } = require('../miniprogram/node_modules/ws');

const { freePorts, start, stop } = require('../miniprogram/stack');
const { ask, startScene } = require('./scene');

const PAYLOAD = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, n) => n % 251));

let server;
let scene;
let headers;

before(async () => {
  const [port] = await freePorts(1);
  scene = await startScene({
    toml: `
[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:${port}"]
[[routes]]
path = "/own/"
upstream = "app"
websocket = true
`,
  });
  const args = ['-m', 'uvicorn', 'app:app', '--app-dir', path.join(__dirname, 'asgi'), '--port', String(port),
    '--http', 'h11', '--ws', 'wsproto', '--lifespan', 'on', '--no-access-log', '--log-level', 'warning'];
  // What it leaves behind when it stops is left in its own folder.
  server = await start('env', ['-C', scene.dir, process.env.WXGATE_PYTHON, ...args], port);
  headers = { authorization: `Bearer ${await scene.login('oAlice')}` };
});

after(async () => {
  if (server) await stop(server);
  await scene?.stop();
});

const at = (name) => `${scene.baseUrl}/own/${name}`;

const own = async (name, options = {}) => (await fetch(at(name), { ...options, headers: { ...headers, ...options.headers } })).json();

async function text(response) {
  let all = '';
  for await (const chunk of response.setEncoding('utf8')) all += chunk;
  return all;
}

test('it is told who calls, and has been started before anybody did', async () => {
  assert.deepEqual(await own('me', { headers: { 'x-wx-openid': 'oMallory' } }), {
    'x-wx-openid': 'oAlice',
    'x-forwarded-proto': 'http',
    expect: null,
    authorization: null,
    started: true,
    http: '1.1',
  });
  assert.equal((await fetch(at('me'))).status, 401);
});

test('a large upload arrives whole, with a length or in chunks, and 100 Continue comes to those who wait for it', async () => {
  const body = Buffer.alloc(5_000_000, 'upload ');
  const sha256 = createHash('sha256').update(body).digest('hex');
  for (const length of [{ 'content-length': body.length }, { 'transfer-encoding': 'chunked' }]) {
    for (const expect of [{}, { expect: '100-continue' }]) {
      let continued = false;
      const send = (request) => {
        if (!expect.expect) return request.end(body);
        request.on('continue', () => {
          continued = true;
          request.end(body);
        });
        return request.flushHeaders();
      };
      const response = await ask(at('upload'), { method: 'POST', headers: { ...headers, ...length, ...expect }, send });
      const framing = length['content-length'] ? [String(body.length), null] : [null, 'chunked'];
      assert.deepEqual(JSON.parse(await text(response)), { length: body.length, sha256, framing });
      assert.equal(continued, Boolean(expect.expect));
    }
  }
});

test('who may not pass is told so before sending a body', async () => {
  const send = (request) => {
    request.on('continue', () => assert.fail('nobody wants the body'));
    request.flushHeaders();
  };
  const more = { expect: '100-continue', 'content-length': 5_000_000 };
  const response = await ask(at('upload'), { method: 'POST', headers: more, send });
  assert.equal(response.statusCode, 401);
  response.destroy();
});

test('each piece of an upload is answered before the next is sent', async () => {
  let request;
  const response = await ask(at('talk'), {
    method: 'POST',
    headers,
    send(it) {
      request = it;
      request.write('piece 0');
    },
  });
  const pieces = response.setEncoding('utf8')[Symbol.asyncIterator]();
  for (let n = 0; n < 5; n += 1) {
    assert.equal((await pieces.next()).value, `PIECE ${n}`);
    if (n < 4) request.write(`piece ${n + 1}`);
  }
  request.end();
  assert.equal((await pieces.next()).done, true);
});

test('events come one by one', async () => {
  const response = await ask(at('stream'), { headers });
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const events = response.setEncoding('utf8')[Symbol.asyncIterator]();
  for (let n = 0; n < 3; n += 1) {
    assert.equal((await events.next()).value, `id: ${n}\ndata: for oAlice\n\n`);
    await own('heard', { method: 'POST' });
  }
  assert.equal((await events.next()).done, true);
});

test('it hears of a client that no longer listens', async () => {
  const response = await ask(at('stream'), { headers });
  await once(response, 'data');
  response.destroy();
  assert.equal(await own('left'), 'http.disconnect');
});

test('HEAD, 204 and 304 have no body and leave the connection as it was', async () => {
  const [head, whole] = [await fetch(at('payload'), { method: 'HEAD', headers }), await fetch(at('payload'), { headers })];
  for (const { status, headers: told } of [head, whole]) {
    assert.deepEqual([status, told.get('content-length'), told.get('etag')], [200, String(PAYLOAD.length), '"1"']);
  }
  assert.ok(Buffer.from(await whole.arrayBuffer()).equals(PAYLOAD));
  assert.equal(await head.text(), '');
  const fresh = await fetch(at('payload'), { headers: { ...headers, 'if-none-match': '"1"' } });
  assert.deepEqual([fresh.status, fresh.headers.get('etag'), await fresh.text()], [304, '"1"', '']);
  for (const status of [204, 404, 503]) {
    const response = await fetch(at(status), { headers });
    assert.deepEqual([response.status, await response.text(), response.headers.get('via')], [status, '', '1.1 wxgate']);
  }
});

test('a WebSocket passes both ways, and each side hears with which code the other has closed it', async () => {
  const open = async () => {
    const socket = new WebSocket(at('chat').replace('http', 'ws'), ['v2.chat'], { headers });
    await once(socket, 'open');
    return socket;
  };
  const socket = await open();
  assert.equal(socket.protocol, 'v2.chat');
  socket.send('你好');
  assert.equal((await once(socket, 'message'))[0].toString(), 'oAlice: 你好');
  socket.send(PAYLOAD);
  assert.ok((await once(socket, 'message'))[0].equals(PAYLOAD));
  socket.close(4000);
  assert.equal((await once(socket, 'close'))[0], 4000);
  assert.equal(await own('left'), 4000);

  const other = await open();
  other.send('bye');
  const [code, reason] = await once(other, 'close');
  assert.deepEqual([code, reason.toString()], [4001, 'as you say']);

  const closed = once(await open(), 'close');
  await fetch(`${scene.baseUrl}/v1/logout`, { method: 'POST', headers });
  assert.equal((await closed)[0], 1008);
  headers = { authorization: `Bearer ${await scene.login('oAlice')}` };
  assert.equal(await own('left'), 1008);
});

test('it stops in good order though the gateway keeps connections to it', async () => {
  await stop(server);
  // It repeats the signal for itself, once it is done. Who exits with a code, of whatever number, has not ended so.
  assert.deepEqual([server.exitCode, server.signalCode], [null, 'SIGTERM']);
  assert.ok(fs.existsSync(path.join(scene.dir, 'stopped')), 'it has heard of its end');
  const response = await fetch(at('me'), { headers });
  assert.deepEqual([response.status, (await response.json()).code], [502, 'upstream_unreachable']);
});
