// What the client package sends and when it sends it again, against the wxgate binary. How to run it: see the head of
// client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { failure } = require('./client_phone');
const { openStories } = require('./client_stories');
const { json } = require('./node_backend');

const ROUTES = `
[[routes]]
path = "/node/"
upstream = "node"
[[routes]]
path = "/strangers/"
upstream = "node"
auth = "optional"
[[routes]]
path = "/limited/"
upstream = "node"
limit_per_user = "1/min"
`;

const { world, newPhone, phoneWithDeadToken } = openStories({
  users: 'oRequest',
  // No request ends here for want of patience on the gateway's side.
  toml: (backend) => backend.toml('node', 'response_timeout = "10m"') + ROUTES,
});

// The backend answers so for the first `times` requests, and with 200 after that.
function backendIsBusy(times, status, headers) {
  let seen = 0;
  world.backend.answers((request, response) => {
    seen += 1;
    json(response, seen <= times ? status : 200, { seen }, seen <= times ? headers : {});
  });
}

test('what the backend answers comes as it is, whatever its status', async () => {
  const phone = newPhone();
  for (const status of [200, 204, 302, 400, 401, 404, 422, 500]) {
    world.backend.answers((request, response) => (status === 204 ? response.writeHead(204).end() : json(response, status, { error: 'mine', code: 'token_invalid' })));
    const { statusCode, data } = await phone.request({ url: '/node/any' });
    assert.equal(statusCode, status);
    if (status !== 204) assert.equal(data.error, 'mine');
  }
  assert.equal(phone.sentTo('/v1/verify'), 1);
  assert.equal(phone.sentTo('/node/any'), 8);
});

test('a backend may answer in the words of the gateway, and is not taken for it', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => {
    const requestId = request.headers['x-request-id'];
    json(response, 401, { error: 'Mine.', code: 'token_invalid', requestId }, { 'WWW-Authenticate': 'Bearer' });
  });
  for (const method of ['GET', 'HEAD']) assert.equal((await phone.request({ url: '/node/any', method })).statusCode, 401);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('a dead token is noticed whatever the answer is asked for as', async () => {
  world.backend.answers((request, response) => response.end('{"plain": true}'));
  for (const more of [{}, { dataType: 'text' }, { responseType: 'arraybuffer' }, { method: 'HEAD' }, { method: 'POST', data: { item: 'tea' } }]) {
    const phone = phoneWithDeadToken();
    const { statusCode } = await phone.request({ url: '/node/any', ...more });
    assert.equal(statusCode, 200, JSON.stringify(more));
    assert.equal(phone.sentTo('/v1/verify'), 1);
  }
});

test('the token goes out once, whatever the caller writes under its name', async () => {
  const phone = newPhone();
  const seen = [];
  world.backend.answers((request, response) => {
    seen.push(request.headers);
    json(response, 200, {});
  });
  const { token } = await phone.login();
  await phone.request({ url: '/node/any', header: { authorization: 'Bearer mine', AUTHORIZATION: 'Basic mine', 'X-Mine': 'kept' } });
  const [{ header }] = phone.sent.slice(-1);
  assert.deepEqual({ ...header }, { Authorization: `Bearer ${token}`, 'X-Mine': 'kept' });
  assert.equal(seen[0]['x-wx-openid'], phone.openid);
  assert.equal(seen[0]['x-mine'], 'kept');
});

test('nothing is sent where a URL leads away from the gateway', async () => {
  const phone = newPhone();
  const { port } = new URL(world.stack.baseUrl);
  const away = [
    'https://evil.example/orders',
    `${world.stack.baseUrl}.evil.example/orders`,
    `${world.stack.baseUrl}@evil.example/orders`,
    world.stack.baseUrl.replace(port, port + 1),
    '.evil.example/orders',
    '@evil.example/orders',
    ':443/orders',
    'orders',
    '',
    'HTTPS://EVIL.example',
  ];
  for (const url of away) {
    const error = await failure(phone.request({ url }));
    assert.equal(error.code, 'foreign_url', url);
    assert.equal((await failure(phone.downloadFile({ url }))).code, 'foreign_url', url);
    assert.equal((await failure(phone.uploadFile({ url, filePath: __filename, name: 'file' }))).code, 'foreign_url', url);
    assert.equal((await failure(phone.connectSocket({ url }).opened)).code, 'foreign_url', url);
  }
  assert.deepEqual(phone.sent, []);
});

test('a URL may name the gateway, and slashes lead nowhere else', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => json(response, 200, { path: request.url }));
  assert.equal((await phone.request({ url: `${world.stack.baseUrl}/node/any?a=1` })).data.path, '/node/any?a=1');
  assert.equal((await phone.request({ url: '//node/any' })).data.path, '/node/any');
  const slash = phone.createClient({ baseUrl: `${world.stack.baseUrl}/`, appId: world.stack.appId });
  assert.equal((await slash.request({ url: '/node/any' })).data.path, '/node/any');
});

test('a baseUrl that is none is refused at once', () => {
  const phone = newPhone();
  for (const baseUrl of ['api.example.com', 'wss://api.example.com', 'https://', 'https://user@api.example.com', 'https://api.example.com?a=1', 'https://a b']) {
    assert.throws(() => phone.createClient({ baseUrl, appId: world.stack.appId }), { name: 'TypeError' }, baseUrl);
  }
});

test('redirects are not followed with the token, unless the caller asks for it', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => json(response, 200, {}));
  await phone.request({ url: '/node/any' });
  await phone.request({ url: '/node/any', redirect: 'follow' });
  assert.deepEqual(phone.sent.slice(-2).map(({ redirect }) => redirect), ['manual', 'follow']);
});

test('where no login is wanted a stranger stays one', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => json(response, 200, { openid: request.headers['x-wx-openid'] ?? null }));
  assert.equal((await phone.request({ url: '/strangers/any', login: false })).data.openid, null);
  assert.equal((await failure(phone.request({ url: '/node/any', login: false }))).code, 'token_missing');
  assert.equal(phone.sentTo('/v1/verify'), 0);
  await phone.login();
  assert.equal((await phone.request({ url: '/strangers/any', login: false })).data.openid, phone.openid);
});

test('where no login is wanted a dead token is forgotten', async () => {
  const phone = phoneWithDeadToken();
  assert.equal((await failure(phone.request({ url: '/node/any', login: false }))).code, 'token_invalid');
  assert.equal(phone.token, '');
  assert.equal(phone.sentTo('/v1/verify'), 0);
});

test('a busy backend is asked again as late as it wants, where that can do no harm', async () => {
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
    for (const status of [429, 503]) {
      const phone = newPhone();
      backendIsBusy(2, status, { 'Retry-After': '7' });
      assert.equal((await phone.request({ url: '/node/any', method })).statusCode, 200, method);
      assert.equal(phone.waits.length, 2);
      assert.ok(phone.waits.every((wait) => wait >= 7000 && wait <= 8750), `${phone.waits}`);
    }
  }
});

test('a POST that a backend may have acted on is not sent again', async () => {
  const phone = newPhone();
  backendIsBusy(1, 503, { 'Retry-After': '1' });
  assert.equal((await phone.request({ url: '/node/any', method: 'POST', data: {} })).statusCode, 503);
  assert.deepEqual(phone.waits, []);
});

test('a POST that the gateway held back is sent again', async () => {
  const phone = newPhone({ patience: 60 });
  world.backend.answers((request, response) => json(response, 200, {}));
  const post = { url: '/limited/any', method: 'POST', data: {} };
  assert.equal((await phone.request(post)).statusCode, 200);
  const error = await failure(phone.request(post));
  assert.equal(error.code, 'rate_limited');
  assert.equal(phone.waits.length, 2);
  assert.ok(phone.waits.every((wait) => wait >= error.retryAfter * 1000));
  assert.equal(phone.sentTo('/limited/any'), 4);
});

test('a wait that is too long, never ends or can not be read is for the caller', async () => {
  for (const [headers, waits, times] of [
    [{ 'Retry-After': '11' }, 0, 1],
    [{ 'retry-after': '1' }, 2, 9],
    [{ 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 0, 1],
    [{ 'Retry-After': '-1' }, 0, 1],
    [{}, 0, 1],
  ]) {
    const phone = newPhone();
    backendIsBusy(times, 503, headers);
    assert.equal((await phone.request({ url: '/node/any' })).statusCode, 503);
    assert.equal(phone.waits.length, waits, JSON.stringify(headers));
  }
});

test('a request can be aborted while it waits for a login', async () => {
  const phone = newPhone();
  const task = phone.request({ url: '/node/any' });
  task.abort();
  assert.equal((await failure(task)).code, 'aborted');
  await phone.login();
  assert.equal(phone.sentTo('/node/any'), 0);
});

test('a request can be aborted while it is under way, and between two sendings', { timeout: 20_000 }, async () => {
  const phone = newPhone();
  await phone.login();
  let task;
  const hungUp = new Promise((resolve) => {
    world.backend.answers((request) => {
      request.socket.on('close', resolve);
      task.abort();
    });
  });
  task = phone.request({ url: '/node/any' });
  assert.equal((await failure(task)).code, 'aborted');
  await hungUp;

  backendIsBusy(9, 503, { 'Retry-After': '1' });
  phone.wx.request = ((request) => (options) =>
    request({ ...options, success: (answer) => (options.success(answer), task.abort()) }))(phone.wx.request);
  task = phone.request({ url: '/node/any' });
  assert.equal((await failure(task)).code, 'aborted');
  await phone.login();
  assert.equal(phone.sentTo('/node/any'), 2);
});

test('listeners hear of the sending that counts, until they are taken off', async () => {
  const phone = phoneWithDeadToken();
  world.backend.answers((request, response) => json(response, 200, {}, { 'X-Mine': 'yes' }));
  const heard = [];
  const task = phone.request({ url: '/node/any' });
  const off = () => heard.push('off');
  task.onHeadersReceived(({ header }) => heard.push(header['x-mine']));
  task.onHeadersReceived(off);
  task.offHeadersReceived(off);
  await task;
  assert.deepEqual(heard, [undefined, 'yes']);
});

test('callbacks are told as those of wx are', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => json(response, 418, { mine: true }));
  const told = [];
  const withCallbacks = (url) => ({
    url,
    success: ({ statusCode }) => told.push(['success', statusCode]),
    fail: ({ code }) => told.push(['fail', code]),
    complete: ({ statusCode, code }) => told.push(['complete', code ?? statusCode]),
  });
  await phone.request(withCallbacks('/node/any'));
  // Nobody awaits this one: a rejection that is not handled would end this process.
  await new Promise((resolve) => {
    const options = withCallbacks('elsewhere');
    phone.request({ ...options, complete: (result) => (options.complete(result), resolve()) });
  });
  assert.deepEqual(told, [['success', 418], ['complete', 418], ['fail', 'foreign_url'], ['complete', 'foreign_url']]);
});

test('login and logout have callbacks too', async () => {
  const phone = newPhone();
  const login = await new Promise((success, fail) => void phone.login({ success, fail }));
  assert.equal(login.token, phone.token);
  await new Promise((success, fail) => void phone.logout({ success, fail }));
  assert.equal(phone.token, '');
});
