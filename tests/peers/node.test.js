// A server of Node's own HTTP behind the gateway: answers that take their time, that are compressed, and that nobody waits for.
//
//   cargo build --release
//   WXGATE_BIN=target/release/wxgate node --test tests/peers/node.test.js

'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const { after, before, test } = require('node:test');
const zlib = require('node:zlib');

const { ask, startScene } = require('./scene');

let server;
let scene;
let headers;
// What the server does with the next requests.
let answer;

before(async () => {
  server = http.createServer((request, response) => answer(request, response));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  scene = await startScene({
    toml: `
[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:${server.address().port}"]
[[routes]]
path = "/"
upstream = "app"
`,
  });
  headers = { authorization: `Bearer ${await scene.login('oAlice')}` };
});

after(async () => {
  await scene?.stop();
  server?.closeAllConnections();
  server?.close();
});

// Answers with a stream of events, and resolves with what its server holds of it.
function streams() {
  return new Promise((resolve) => {
    answer = (request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: for ${request.headers['x-wx-openid']}\n\n`);
      resolve(response);
    };
  });
}

// The same request over HTTP/2.
function askHttp2(path) {
  const session = http2.connect(scene.baseUrl);
  const stream = session.request({ ':path': path, ...headers });
  return { session, stream };
}

test('events arrive one by one while the answer is open', async () => {
  const begun = streams();
  const response = await ask(`${scene.baseUrl}/events`, { headers });
  const events = response.setEncoding('utf8')[Symbol.asyncIterator]();
  const source = await begun;
  assert.equal((await events.next()).value, 'data: for oAlice\n\n');
  for (let n = 0; n < 5; n += 1) {
    source.write(`data: ${n}\n\n`);
    assert.equal((await events.next()).value, `data: ${n}\n\n`);
  }
  source.end();
  assert.equal((await events.next()).done, true);
});

test('over HTTP/2 they do too', async () => {
  const begun = streams();
  const { session, stream } = askHttp2('/events');
  const events = stream.setEncoding('utf8')[Symbol.asyncIterator]();
  const source = await begun;
  assert.equal((await events.next()).value, 'data: for oAlice\n\n');
  source.write('data: 1\n\n');
  assert.equal((await events.next()).value, 'data: 1\n\n');
  source.end();
  assert.equal((await events.next()).done, true);
  session.close();
});

test('the server hears of a client that hangs up, or takes its stream back', async () => {
  for (const leave of [
    async () => {
      const response = await ask(`${scene.baseUrl}/events`, { headers });
      return () => response.destroy();
    },
    async () => {
      const { session, stream } = askHttp2('/events');
      await once(stream, 'response');
      return () => {
        stream.close(http2.constants.NGHTTP2_CANCEL);
        session.close();
      };
    },
  ]) {
    const begun = streams();
    const leaves = await leave();
    const source = await begun;
    const closed = once(source, 'close');
    leaves();
    await closed;
    assert.equal(source.writableFinished, false);
  }
});

test('a client that hangs up before there is an answer is heard of as well', async () => {
  const asked = new Promise((resolve) => (answer = (request, response) => resolve(response)));
  const request = http.get(`${scene.baseUrl}/slow`, { headers });
  request.on('error', () => {});
  const source = await asked;
  const closed = once(source, 'close');
  request.destroy();
  await closed;
});

test('what is compressed stays as it is, and what is not is not compressed', async () => {
  const plain = Buffer.from('compress me '.repeat(10_000));
  for (const [coding, body] of [['gzip', zlib.gzipSync(plain)], ['br', zlib.brotliCompressSync(plain)], [undefined, plain]]) {
    answer = (request, response) => {
      assert.equal(request.headers['accept-encoding'], 'gzip, br');
      if (coding) response.setHeader('content-encoding', coding);
      response.setHeader('vary', 'accept-encoding');
      // Without a length: in chunks.
      response.write(body.subarray(0, 100));
      response.end(body.subarray(100));
    };
    const response = await ask(`${scene.baseUrl}/`, { headers: { ...headers, 'accept-encoding': 'gzip, br' } });
    assert.equal(response.headers['content-encoding'], coding);
    const chunks = await response.toArray();
    assert.ok(Buffer.concat(chunks).equals(body));
  }
});

test('an answer that its server breaks off is not taken for a whole one', async () => {
  answer = (request, response) => {
    response.writeHead(200);
    response.write('half', () => response.destroy());
  };
  const response = await ask(`${scene.baseUrl}/`, { headers });
  await assert.rejects(response.toArray(), { code: 'ECONNRESET' });
  const { session, stream } = askHttp2('/');
  await assert.rejects(stream.toArray(), { code: 'ERR_HTTP2_STREAM_ERROR' });
  session.close();
});

test('early hints stay behind, and the answer comes', async () => {
  answer = (request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('here');
  };
  const response = await ask(`${scene.baseUrl}/`, { headers });
  assert.deepEqual([response.statusCode, Buffer.concat(await response.toArray()).toString()], [200, 'here']);
});
