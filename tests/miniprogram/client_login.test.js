// How the client package gets, keeps, renews and ends a session, against the wxgate binary and the stand-in of WeChat.
//
//   cargo build --release
//   python3 -m venv .venv && .venv/bin/pip install -r tests/miniprogram/requirements.txt
//   npm ci --prefix tests/miniprogram && npm ci --prefix miniprogram && npm run build --prefix miniprogram
//   WXGATE_BIN=target/release/wxgate WXGATE_PYTHON=.venv/bin/python node --test tests/miniprogram/client_login.test.js

'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { failure } = require('./client_phone');
const { DEAD, openStories } = require('./client_stories');
const { freePorts } = require('./stack');

const { world, newPhone, restarted, phoneWithDeadToken } = openStories({ users: 'oLogin' });

async function openidOf(phone) {
  return (await phone.request({ url: '/orders' })).data.openid;
}

test('a request logs in by itself, and the next one needs no login', async () => {
  const phone = newPhone();
  assert.equal(await openidOf(phone), phone.openid);
  assert.equal(await openidOf(phone), phone.openid);
  assert.deepEqual(phone.sent.map(({ name }) => name), ['login', 'request', 'request', 'request']);
});

test('the session is found again when the Mini Program starts', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  assert.equal(phone.token, token);
  const later = restarted(phone);
  assert.equal(await openidOf(later), phone.openid);
  assert.equal((await later.login()).token, token);
  assert.equal(later.sentTo('/v1/verify'), 0);
});

test('fifty requests at once without a token make one login', async () => {
  const phone = newPhone();
  const before = await world.stack.exchanges();
  const openids = await Promise.all(Array.from({ length: 50 }, () => openidOf(phone)));
  assert.deepEqual(new Set(openids), new Set([phone.openid]));
  assert.equal((await world.stack.exchanges()) - before, 1);
});

test('fifty requests at once with a dead token make one login', async () => {
  const phone = phoneWithDeadToken();
  const before = await world.stack.exchanges();
  const openids = await Promise.all(Array.from({ length: 50 }, () => openidOf(phone)));
  assert.deepEqual(new Set(openids), new Set([phone.openid]));
  assert.equal((await world.stack.exchanges()) - before, 1);
  assert.equal(phone.sentTo('/orders'), 100);
  assert.equal(phone.sent.filter(({ name }) => name === 'login').length, 1);
});

test('fifty requests whose login fails share its failure, and the next one tries anew', async () => {
  const phone = phoneWithDeadToken();
  await world.stack.orderFault({ fault: 'errcode', errcode: 40226 });
  const before = await world.stack.exchanges();
  const errors = await Promise.all(Array.from({ length: 50 }, () => failure(openidOf(phone))));
  assert.deepEqual(new Set(errors.map(({ code }) => code)), new Set(['user_blocked']));
  assert.equal((await world.stack.exchanges()) - before, 1);
  assert.equal(await openidOf(phone), phone.openid);
});

test('a request that was under way when a login failed shares the failure', async () => {
  const phone = phoneWithDeadToken();
  const slow = hold(phone, '/orders');
  const waiting = failure(openidOf(phone));
  await slow.answered;
  await world.stack.orderFault({ fault: 'errcode', errcode: 40226 });
  const error = await failure(openidOf(phone));
  slow.release();
  assert.equal(await waiting, error);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('a login that fails does not loop', async () => {
  const phone = newPhone();
  await world.stack.orderFault({ fault: 'errcode', errcode: 40226, times: 5 });
  for (let n = 1; n <= 3; n += 1) {
    assert.equal((await failure(phone.login())).code, 'user_blocked');
    assert.equal(phone.sentTo('/v1/verify'), n);
  }
});

test('a second refusal of a token is for the caller to see', async () => {
  const phone = newPhone();
  // Somebody answers each login with a token that is of no use.
  phone.wx.request = ((request) => (options) =>
    request({ ...options, success: (answer) => options.success(answer.data.token ? { ...answer, data: { token: DEAD } } : answer) }))(phone.wx.request);
  const error = await failure(openidOf(phone));
  assert.equal(error.code, 'token_invalid');
  assert.equal(phone.sentTo('/orders'), 2);
  assert.equal(phone.sentTo('/v1/verify'), 2);
});

test('a refusal of an older token leaves the newer one alone', async () => {
  const phone = newPhone();
  const first = await phone.login();
  await world.stack.logOut(first.token);
  const slow = hold(phone, '/orders');
  const waiting = openidOf(phone);
  await slow.answered;
  const second = await phone.login({ force: true });
  slow.release();
  assert.equal(await waiting, phone.openid);
  assert.equal(phone.token, second.token);
  assert.equal(phone.sentTo('/v1/verify'), 2);
});

test('a refusal of an older token leaves the newer one alone where storage fails, too', async () => {
  const phone = phoneWithDeadToken();
  const slow = hold(phone, '/orders');
  phone.wx.setStorageSync = () => {
    throw new Error('setStorage:fail');
  };
  const waiting = openidOf(phone);
  await slow.answered;
  await phone.login({ force: true });
  slow.release();
  assert.equal(await waiting, phone.openid);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

// Keeps the answer to the next request for `end` back until it is released.
function hold(phone, end) {
  let release;
  let answered;
  const gate = new Promise((resolve) => (release = resolve));
  const held = { answered: new Promise((resolve) => (answered = resolve)), release };
  const { request } = phone.wx;
  phone.wx.request = (options) => {
    if (!options.url.endsWith(end)) return request(options);
    phone.wx.request = request;
    const success = (answer) => {
      answered();
      gate.then(() => options.success(answer));
    };
    return request({ ...options, success });
  };
  return held;
}

test('wx.login fails: what it said is passed on whole', async () => {
  const phone = newPhone();
  const said = { errMsg: 'login:fail network timeout', errno: 5 };
  phone.wx.login = ({ fail }) => fail(said);
  const error = await failure(phone.request({ url: '/orders' }));
  assert.equal(error.code, 'wx_login_failed');
  assert.equal(error.cause, said);
  assert.match(error.errMsg, /login:fail network timeout/);
  assert.ok(error instanceof phone.WxgateError);
});

test('codes may come from somebody else than wx.login', async () => {
  const makeCode = ({ success }) => world.stack.makeCode('oElsewhere').then((code) => success({ code, errMsg: 'login:ok' }));
  const phone = newPhone({ wxLogin: makeCode });
  assert.equal(await openidOf(phone), 'oElsewhere');
  assert.deepEqual(phone.sent.map(({ name }) => name), ['request', 'request']);
});

test('a spent code is followed by one more, and not by a third', async () => {
  const phone = newPhone();
  const spent = await world.stack.makeCode(phone.openid);
  await world.stack.spend(spent);
  phone.nextCode(spent);
  assert.equal(await openidOf(phone), phone.openid);

  const other = newPhone({ appId: world.stack.appId });
  ['no-such-code-1', 'no-such-code-2', 'no-such-code-3'].forEach(other.nextCode);
  assert.equal((await failure(other.login())).code, 'code_invalid');
  assert.equal(other.sentTo('/v1/verify'), 2);
});

test('while WeChat is busy the login waits as long as it is told, with a new code each time', async () => {
  const phone = newPhone();
  await world.stack.orderFault({ fault: 'errcode', errcode: -1, times: 2 });
  assert.equal(await openidOf(phone), phone.openid);
  assert.equal(phone.waits.length, 1);
  assert.ok(phone.waits[0] >= 1000, `it waited ${phone.waits[0]} ms`);
  const codes = phone.sent.filter(({ url }) => url?.endsWith('/verify')).map(({ data }) => data.jsCode);
  assert.equal(new Set(codes).size, 2);
});

test('a login waits twice and then says why it failed', async () => {
  const phone = newPhone();
  await world.stack.orderFault({ fault: 'errcode', errcode: -1, times: 10 });
  const error = await failure(phone.login());
  assert.equal(error.code, 'wechat_busy');
  assert.ok(error.retryAfter >= 1);
  assert.equal(phone.waits.length, 2);
});

test('a login does not wait longer than its patience', async () => {
  const phone = newPhone({ patience: 0 });
  await world.stack.orderFault({ fault: 'errcode', errcode: -1, times: 2 });
  assert.equal((await failure(phone.login())).code, 'wechat_busy');
  assert.deepEqual(phone.waits, []);
});

test('without a network nobody logs in, and the token stays', async () => {
  const [port] = await freePorts(1);
  const phone = newPhone({ baseUrl: `http://127.0.0.1:${port}` });
  phone.token = DEAD;
  const offline = newPhone({ baseUrl: `http://127.0.0.1:${port}`, device: phone.device });
  const error = await failure(offline.request({ url: '/orders' }));
  assert.equal(error.code, 'no_answer');
  assert.match(error.cause.errMsg, /^request:fail /);
  assert.deepEqual(offline.sent.map(({ name }) => name), ['request']);
  assert.equal(offline.token, DEAD);
});

test('a storage that fails costs nothing but the session at the next start', async () => {
  const phone = newPhone();
  const broken = () => {
    throw new Error('storage:fail');
  };
  Object.assign(phone.wx, { getStorageSync: broken, setStorageSync: broken, removeStorageSync: broken });
  const client = phone.createClient({ baseUrl: world.stack.baseUrl, appId: world.stack.appId });
  assert.equal((await client.request({ url: '/orders' })).data.openid, phone.openid);
  await client.request({ url: '/orders' });
  await client.logout();
  await client.login();
  assert.equal(phone.sentTo('/v1/verify'), 2);
});

test('a storage that is full does not bring an old token back', async () => {
  const phone = newPhone();
  const old = await phone.login();
  phone.wx.setStorageSync = () => {
    throw new Error('setStorage:fail exceed storage max size');
  };
  const { token } = await phone.login({ force: true });
  assert.equal(phone.token, '');
  await Promise.all([old.token, token].map(world.stack.logOut));
  assert.equal(await openidOf(phone), phone.openid);
});

test('two clients with other gateways or apps have sessions of their own', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  const otherGateway = phone.createClient({ baseUrl: `${world.stack.baseUrl}/gw`, appId: world.stack.appId });
  const otherApp = phone.createClient({ baseUrl: world.stack.baseUrl, appId: 'wx0000000000000000' });
  await failure(otherGateway.request({ url: '/orders' }));
  assert.equal((await failure(otherApp.login())).code, 'unknown_app');
  assert.equal(phone.token, token);
});

test('a client finds the token that another one has left for the same gateway and app', async () => {
  const phone = newPhone();
  const other = phone.createClient({ baseUrl: world.stack.baseUrl, appId: world.stack.appId });
  const old = (await phone.login()).token;
  await world.stack.logOut(old);
  phone.token = old;
  await other.login({ force: true });
  assert.equal(await openidOf(phone), phone.openid);
  assert.equal(phone.sentTo('/v1/verify'), 2);
});

test('a log-out ends the session here and at the gateway', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  await phone.logout();
  assert.equal(phone.token, '');
  assert.equal((await world.stack.session(token)).status, 401);
  assert.equal(await openidOf(phone), phone.openid);
});

test('a log-out everywhere ends the sessions of the other phones too', async () => {
  const phone = newPhone();
  const tablet = newPhone({ openid: phone.openid });
  const { token } = await tablet.login();
  await phone.login();
  await phone.logout({ everywhere: true });
  assert.equal((await world.stack.session(token)).status, 401);
});

test('what is under way at a log-out does not log in again', async () => {
  const phone = phoneWithDeadToken();
  const slow = hold(phone, '/orders');
  const waiting = failure(openidOf(phone));
  await slow.answered;
  await phone.logout();
  slow.release();
  assert.equal((await waiting).code, 'token_invalid');
  assert.equal(phone.sentTo('/v1/verify'), 0);
});

test('a log-out during a login ends the session that it brings', async () => {
  const phone = newPhone();
  const login = phone.login();
  const logout = phone.logout();
  const { token } = await login;
  await logout;
  assert.equal(phone.token, '');
  assert.equal((await world.stack.session(token)).status, 401);
});

test('a log-out of a session that is over already is one', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  await world.stack.logOut(token);
  await phone.logout();
  await phone.logout();
  assert.equal(phone.sentTo('/v1/logout'), 1);
});

test('a log-out that nobody hears of says so, and is one on this side', async () => {
  const phone = newPhone();
  await phone.login();
  phone.wx.request = ({ fail }) => void fail({ errMsg: 'request:fail timeout' });
  assert.equal((await failure(phone.logout())).code, 'no_answer');
  assert.equal(phone.token, '');
});
