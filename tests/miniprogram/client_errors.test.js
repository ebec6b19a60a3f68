// Every error of the client package, each brought about at the wxgate binary where that is possible. It needs
// redis-server; for the rest see the head of client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');

const { failure, openClient } = require('./client_phone');
const { json, startNodeBackend } = require('./node_backend');
const { pngOf } = require('./picture');
const { accepts, freePorts, startStack } = require('./stack');

const DEAD = `wxg_${'A'.repeat(44)}`;
const ROOT = path.join(__dirname, '../..');

const reached = new Set();
let stack;
let stored;
let redis;
let backend;
let phones = [];
let users = 0;

before(async () => {
  backend = await startNodeBackend();
  const [nobody] = await freePorts(1);
  const more = `
[wechat]
timeout = "1s"
${backend.toml('slow', 'response_timeout = "100ms"')}
${backend.toml('full', 'max_connections = 1\nmax_pending = 1\nconnect_timeout = "1s"')}
${backend.toml('chat')}
[[upstreams]]
name = "gone"
servers = ["http://127.0.0.1:${nobody}"]
[[routes]]
path = "/slow"
upstream = "slow"
[[routes]]
path = "/full"
upstream = "full"
[[routes]]
path = "/gone"
upstream = "gone"
[[routes]]
path = "/one"
upstream = "chat"
websocket = true
websocket_per_user = 1
[[routes]]
path = "/photos"
upstream = "app"
[avatars]
public_url = "https://api.example.com"
max_pixels = 10_000
[[apps]]
app_id = "wx0000000000000001"
secret = "of another app"
[[routes]]
path = "/theirs"
upstream = "app"
apps = ["wx0000000000000001"]
`;
  stack = await startStack({ more, server: 'body_timeout = "1s"', root: false });
  await startRedis();
});

after(async () => {
  await stack?.stop();
  await stored?.stop();
  await backend?.stop();
  redis?.kill('SIGKILL');
});

afterEach(async () => {
  phones.forEach((phone) => phone.switchOff());
  phones = [];
  await stack.clearFaults();
});

async function startRedis() {
  const [port] = await freePorts(1);
  redis = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
  await accepts(port);
  const more = `
[sessions.redis]
url = "redis://127.0.0.1:${port}"
stale_for = "0s"
[sessions.seal]
key = "${'0'.repeat(64)}"
`;
  stored = await startStack({ more });
}

function newPhone(more = {}) {
  users += 1;
  const phone = openClient({ appId: stack.appId, openid: `oErrors${users}`, baseUrl: stack.baseUrl, wechat: stack.wechat, ...more });
  phones.push(phone);
  return phone;
}

// What has failed has this code, and all that its status promises.
async function reach(code, statusCode, promise) {
  const error = await failure(promise);
  assert.equal(error.code, code);
  assert.equal(error.statusCode, statusCode);
  assert.equal(error.name, 'WxgateError');
  assert.ok(error.errMsg.startsWith(`wxgate:fail ${code}`), error.errMsg);
  if (statusCode) assert.match(error.requestId, /^[0-9a-f]{32}$/);
  if (statusCode === 429 || ['store_unavailable', 'upstream_overloaded', 'wechat_busy'].includes(code)) assert.ok(error.retryAfter >= 1);
  reached.add(code);
  return error;
}

test('what WeChat says of a login', async () => {
  for (const [fault, code, status] of [
    [{ fault: 'errcode', errcode: 40226 }, 'user_blocked', 403],
    [{ fault: 'errcode', errcode: 40125 }, 'app_misconfigured', 502],
    [{ fault: 'errcode', errcode: 45011, times: 9 }, 'rate_limited', 429],
    [{ fault: 'errcode', errcode: -1, times: 9 }, 'wechat_busy', 503],
    [{ fault: 'errcode', errcode: 40163, times: 2 }, 'code_used', 401],
    [{ fault: 'errcode', errcode: 40029, times: 2 }, 'code_invalid', 401],
    [{ fault: 'notJson' }, 'wechat_unreachable', 502],
    [{ fault: 'latency', millis: 5000 }, 'wechat_timeout', 504],
  ]) {
    await stack.orderFault(fault);
    await reach(code, status, newPhone().login());
    await stack.clearFaults();
  }
  await reach('unknown_app', 400, newPhone({ appId: 'wx0000000000000000' }).login());
});

test('what the gateway says of a token', async () => {
  const phone = newPhone();
  await reach('token_missing', 401, phone.request({ url: '/orders', login: false }));
  phone.token = DEAD;
  const late = newPhone({ device: phone.device });
  await reach('token_invalid', 401, late.request({ url: '/orders', login: false }));
  await reach('app_not_allowed', 403, phone.request({ url: '/theirs' }));
});

test('what the gateway says of a request', async () => {
  const phone = newPhone();
  await reach('bad_request', 400, phone.request({ url: '/orders/%5c' }));
  await reach('no_route', 404, phone.request({ url: '/nowhere' }));
  await reach('no_route', 404, phone.downloadFile({ url: '/nowhere' }));
  await reach('method_not_allowed', 405, phone.request({ url: '/v1/session', method: 'POST', data: {} }));
  await reach('body_too_large', 413, phone.request({ url: '/v1/logout', method: 'POST', data: 'x'.repeat(5000) }));
  await reach('uri_too_long', 414, phone.request({ url: `/orders?${'x'.repeat(9000)}` }));
  await reach('headers_too_large', 431, phone.request({ url: '/orders', header: { 'X-Long': 'x'.repeat(40_000) } }));
  await reach('proxy_not_trusted', 403, phone.request({ url: '/v1/authorize' }));
});

test('what the gateway says of a body that does not come', async () => {
  const phone = newPhone();
  await phone.login();
  const filePath = path.join(stack.dir, 'photo.jpg');
  fs.writeFileSync(filePath, Buffer.alloc(1_000_000));
  phone.device.stallUploads();
  await reach('request_timeout', 408, phone.uploadFile({ url: '/photos', filePath, name: 'photo' }));
});

test('what the gateway says of one WebSocket too many', async () => {
  const phone = newPhone();
  const chat = phone.connectSocket({ url: '/one' });
  await chat.opened;
  // Where a WebSocket is refused a phone is not told why, so the opening is a request like any other here.
  const header = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  await reach('too_many_websockets', 429, phone.request({ url: '/one', header }));
  chat.close();
});

test('what the gateway says of a picture', async () => {
  const phone = newPhone();
  const file = (name, bytes) => {
    const filePath = path.join(stack.dir, name);
    fs.writeFileSync(filePath, bytes);
    return filePath;
  };
  await reach('unsupported_image', 415, phone.uploadAvatar(file('picture.png', '<svg xmlns="http://www.w3.org/2000/svg"/>')));
  await reach('image_too_large', 413, phone.uploadAvatar(file('large.jpg', pngOf(101, 100))));
});

test('what the gateway says of a backend', async () => {
  const phone = newPhone();
  await reach('upstream_unreachable', 502, phone.request({ url: '/gone' }));
  backend.answers(() => {});
  await reach('upstream_timeout', 504, phone.request({ url: '/slow' }));
  const arrived = new Promise((resolve) => backend.answers(resolve));
  const first = phone.request({ url: '/full' });
  first.catch(() => {});
  await Promise.race([arrived, first]);
  await reach('upstream_overloaded', 503, phone.request({ url: '/full', method: 'POST', data: {} }));
  assert.equal(phone.sentTo('/full'), 4, 'the first one, and three tries that came to nothing');
  first.abort();
});

test('what the gateway says of a phone code', async () => {
  const phone = newPhone();
  const tap = (code) => phone.getPhoneNumber({ detail: { code } });
  await reach('phone_code_invalid', 400, tap('0'.repeat(64)));
  await reach('wrong_code_kind', 400, tap(await stack.makeCode(phone.openid)));
  assert.equal(phone.sentTo('/v1/verify'), 1, 'the session is fine');
});

test('a store that is away is no reason to log in', async () => {
  const phone = openClient({ appId: stored.appId, openid: 'oStored', baseUrl: stored.baseUrl, wechat: stored.wechat });
  phones.push(phone);
  const { token } = await phone.login();
  const gone = once(redis, 'exit');
  redis.kill('SIGKILL');
  await gone;
  await reach('store_unavailable', 503, phone.request({ url: '/orders', method: 'POST', data: { item: 'tea' } }));
  assert.equal(phone.sentTo('/v1/verify'), 1);
  assert.equal(phone.token, token);
  assert.equal(phone.waits.length, 2);
});

test('what goes wrong on the phone', async () => {
  const phone = newPhone();
  phone.wx.login = ({ fail }) => fail({ errMsg: 'login:fail', errno: 5 });
  assert.equal((await reach('wx_login_failed', 0, phone.login())).cause.errno, 5);
  const [nobody] = await freePorts(1);
  await reach('no_answer', 0, newPhone({ baseUrl: `http://127.0.0.1:${nobody}` }).login());
  await reach('foreign_url', 0, phone.request({ url: 'https://evil.example/' }));
  const task = phone.request({ url: '/orders' });
  task.abort();
  await reach('aborted', 0, task);
  const detail = { errMsg: 'getPhoneNumber:fail no quota', errno: 1400001 };
  assert.equal((await reach('phone_declined', 0, phone.getPhoneNumber({ detail }))).cause, detail);
  const chat = phone.connectSocket({ url: '/chat' });
  await reach('socket_not_open', 0, chat.send({ data: 'early' }));
  chat.close();
  await reach('socket_refused', 0, newPhone().connectSocket({ url: '/orders' }).opened);
});

test('where something else answers in the place of the gateway', async () => {
  const phone = newPhone({ baseUrl: `http://127.0.0.1:${backend.port}` });
  for (const [status, body] of [[200, '<html>Log in to this network</html>'], [200, '{}'], [200, '{"token": 5}'], [502, '<html>Bad Gateway</html>'], [302, '']]) {
    backend.answers((request, response) => response.writeHead(status).end(body));
    const error = await failure(phone.login());
    assert.equal(error.code, 'unexpected_answer');
    assert.equal(error.statusCode, status);
    reached.add(error.code);
  }
  backend.answers((request, response) => json(response, 403, { code: 'Throttled', requestId: 'theirs' }, { 'X-Request-Id': 'another' }));
  assert.equal((await failure(phone.login())).code, 'unexpected_answer');
  assert.equal(phone.token, '');
  backend.answers((request, response) => json(response, 200, { token: DEAD }));
  await phone.login();
  backend.answers((request, response) => json(response, 404, { message: 'Not found' }));
  assert.equal((await failure(phone.getProfile())).code, 'unexpected_answer');
  assert.equal((await failure(phone.logout())).code, 'unexpected_answer');
});

// CONTRACT: these codes can't be brought about at the binary, or not yet. What answers is this process, in the gateway's words.
test('codes that only the contract knows', async () => {
  const requestId = 'a'.repeat(32);
  for (const [code, status] of [
    ['internal', 500],
    ['misdirected_request', 421],
    ['overloaded', 503],
    ['profile_changed', 412],
    ['session_key_stale', 409],
    ['a_code_of_tomorrow', 400],
  ]) {
    backend.answers((request, response) => {
      if (request.url === '/v1/verify') json(response, 200, { token: DEAD });
      else json(response, status, { error: 'No.', code, requestId }, { 'X-Request-Id': requestId });
    });
    await reach(code, status, newPhone({ baseUrl: `http://127.0.0.1:${backend.port}` }).getProfile());
  }
});

test('every code is listed, documented and was reached', () => {
  const source = fs.readFileSync(path.join(ROOT, 'miniprogram/src/error.ts'), 'utf8');
  const [, listed] = source.match(/type GatewayCode =(.*?);/s);
  const [, own] = source.match(/type ClientCode =(.*?);/s);
  const codesIn = (text) => [...text.matchAll(/'([a-z_]+)'/g)].map(([, code]) => code);
  const codes = [...codesIn(listed), ...codesIn(own)];
  assert.deepEqual(codes.filter((code) => !reached.has(code)), []);
  assert.deepEqual([...reached].filter((code) => !codes.includes(code)), ['a_code_of_tomorrow']);

  const errors = fs.readFileSync(path.join(ROOT, 'docs/ERRORS.md'), 'utf8');
  const documented = [...errors.matchAll(/^\| \d+ \| `([a-z_]+)`/gm)].map(([, code]) => code);
  assert.ok(documented.length > 20);
  assert.deepEqual(documented.filter((code) => !codesIn(listed).includes(code)), []);
});
