// A Mini Program on real sockets: its page logic against the wxgate binary, the stand-in of WeChat and a Flask backend.
//
//   cargo build --release
//   python3 -m venv .venv && .venv/bin/pip install -r tests/miniprogram/requirements.txt
//   npm ci --prefix tests/miniprogram
//   WXGATE_BIN=target/release/wxgate WXGATE_PYTHON=.venv/bin/python node --test tests/miniprogram/orders.test.js

'use strict';

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');

const { openPhone } = require('./phone');
const { freePorts, startStack } = require('./stack');

const FORGED = { 'X-WX-OPENID': 'oVictim', 'x-wx-openid': 'oVictim', x_wx_openid: 'oVictim', X_Wx_OpenId: 'oVictim' };
const FORGED_TOO = { 'X-WX-APPID': 'wxVictim', 'X-WX-UNIONID': 'uVictim', 'X-WX-SOURCE': 'wx_devtools', 'X-WX-FROM-OPENID': 'oVictim' };

let stack;
let phones = [];
let users = 0;

before(async () => {
  stack = await startStack();
});

after(() => stack?.stop());

afterEach(() => {
  phones.forEach((phone) => phone.switchOff());
  phones = [];
});

function phoneOf(openid, more = {}) {
  const phone = openPhone({ appId: stack.appId, openid, baseUrl: stack.baseUrl, wechat: stack.wechat, ...more });
  phones.push(phone);
  return phone;
}

// A user nobody has seen before, so that no story hangs on another.
function newPhone(more) {
  users += 1;
  return phoneOf(`oUser${users}_${randomBytes(6).toString('hex')}`, more);
}

async function openOrders(phone) {
  const page = phone.open('orders');
  await page.onLoad();
  return page;
}

function tokenOf(phone) {
  return phone.wx.getStorageSync('token');
}

test('a user logs in and orders', async () => {
  const phone = newPhone();
  const page = await openOrders(phone);
  assert.deepEqual(page.shown(), { openid: phone.openid, orders: [], notice: '' });
  await page.order('tea');
  await page.order('noodles');
  assert.deepEqual(page.shown(), { openid: phone.openid, orders: ['tea', 'noodles'], notice: '' });
});

test('the answer to a login is a token and the seconds it lives, and nothing else', async () => {
  const phone = newPhone();
  const jsCode = await stack.makeCode(phone.openid);
  const answer = await phone.request({ path: '/v1/verify', method: 'POST', data: { jsCode, appId: stack.appId } });
  assert.equal(answer.statusCode, 200);
  assert.deepEqual(Object.keys(answer.data).sort(), ['expiresIn', 'token']);
  assert.match(answer.data.token, /^wxg_/);
  // In whole seconds, and never more than there is: a millisecond after the login it is one less.
  assert.ok([86_400, 86_399].includes(answer.data.expiresIn), String(answer.data.expiresIn));
});

test('pages that open at once share one login, and later ones need none', async () => {
  const phone = newPhone();
  const before = await stack.exchanges();
  const pages = await Promise.all(Array.from({ length: 5 }, () => openOrders(phone)));
  assert.deepEqual(pages.map((page) => page.shown().openid), Array(5).fill(phone.openid));
  await openOrders(phone);
  assert.equal((await stack.exchanges()) - before, 1);
});

test('users never mix, however their requests do', async () => {
  const crowd = Array.from({ length: 12 }, () => newPhone());
  await Promise.all(
    crowd.map(async (phone) => {
      const page = await openOrders(phone);
      for (let n = 0; n < 25; n += 1) {
        await page.order(`${phone.openid} #${n}`);
        assert.equal(page.shown().openid, phone.openid);
      }
      const own = Array.from({ length: 25 }, (_, n) => `${phone.openid} #${n}`);
      assert.deepEqual(page.shown(), { openid: phone.openid, orders: own, notice: '' });
    }),
  );
});

test('a forged identity never reaches the backend', async () => {
  const phone = newPhone();
  await openOrders(phone);
  const truth = [['x-wx-appid', stack.appId], ['x-wx-openid', phone.openid], ['x-wx-source', 'wx_client']];
  const authorization = { Authorization: `Bearer ${tokenOf(phone)}` };

  for (const path of ['/identity', '/public/identity']) {
    const answer = await phone.request({ path, header: { ...FORGED, ...FORGED_TOO, ...authorization } });
    assert.equal(answer.data.openid, phone.openid, path);
    assert.deepEqual(linesOf(answer), truth, `${path} saw other lines than the truth, or the token`);
  }
});

test('a stranger stays a stranger whatever they claim', async () => {
  const phone = newPhone();
  for (const path of ['/public/identity', '/open/identity']) {
    const answer = await phone.request({ path, header: { ...FORGED, ...FORGED_TOO } });
    assert.equal(answer.statusCode, 200, path);
    assert.equal(answer.data.openid, null, path);
    // Where a request came from may be said of a stranger too, so long as it is the gateway that says so.
    assert.deepEqual(linesOf(answer).filter((line) => line.join() !== 'x-wx-source,wx_client'), [], path);
  }
  const answer = await phone.request({ path: '/identity', header: FORGED });
  assert.equal(answer.statusCode, 401);
  assert.equal(answer.data.code, 'token_missing');
});

function linesOf(answer) {
  return answer.data.lines.map(([name, value]) => [name.toLowerCase(), value]).sort();
}

test('while WeChat is busy the page waits as long as it is told and then logs in', async () => {
  await stack.orderFault({ fault: 'errcode', errcode: -1, times: 2 });
  const phone = newPhone();
  const page = await openOrders(phone);
  assert.equal(page.shown().openid, phone.openid);
  assert.equal(phone.waits.length, 1, 'one refusal, for the gateway has retried once by itself');
  assert.ok(phone.waits[0] >= 1000, `Retry-After came as ${phone.waits[0]} ms`);
});

test('a WeChat that stays busy is shown as such', async () => {
  const phone = newPhone();
  await stack.orderFault({ fault: 'errcode', errcode: -1, times: 6 });
  const page = await openOrders(phone);
  assert.equal(page.shown().notice, 'WeChat is busy. Try again in a minute.');
  await stack.clearFaults();
  await page.refresh();
  assert.equal(page.shown().openid, phone.openid);
});

test('a code that was used is answered 401 code_used and the page gets another', async () => {
  const phone = newPhone();
  const code = await stack.makeCode(phone.openid);
  assert.equal((await stack.spend(code)).openid, phone.openid);
  const refused = await phone.request({ path: '/v1/verify', method: 'POST', data: { jsCode: code, appId: stack.appId } });
  assert.equal(refused.statusCode, 401);
  assert.equal(refused.data.error, 'Validation failed');
  assert.equal(refused.data.code, 'code_used');

  phone.nextCode(code);
  const page = await openOrders(phone);
  assert.equal(page.shown().openid, phone.openid);
});

test('a blocked user is told so', async () => {
  const phone = newPhone();
  await stack.orderFault({ fault: 'errcode', errcode: 40226 });
  const page = await openOrders(phone);
  assert.deepEqual(page.shown(), { openid: '', orders: [], notice: 'This account is blocked.' });
});

test('a user logged out everywhere logs in anew and finds their orders', async () => {
  const phone = newPhone();
  const page = await openOrders(phone);
  await page.order('tea');
  const token = tokenOf(phone);

  const tablet = phoneOf(phone.openid);
  const other = await openOrders(tablet);
  await other.logOut(true);

  const refused = await phone.request({ path: '/orders', header: { Authorization: `Bearer ${token}` } });
  assert.equal(refused.statusCode, 401);
  assert.equal(refused.data.code, 'token_invalid');
  await page.refresh();
  assert.deepEqual(page.shown(), { openid: phone.openid, orders: ['tea'], notice: '' });
  assert.notEqual(tokenOf(phone), token);
});

test('a photo of a megabyte arrives whole', async () => {
  const phone = newPhone();
  const photo = randomBytes(1024 * 1024);
  const file = path.join(stack.dir, 'photo.jpg');
  fs.writeFileSync(file, photo);
  const page = await openOrders(phone);
  await page.attach(file);
  const sha256 = createHash('sha256').update(photo).digest('hex');
  assert.deepEqual(page.shown().photo, { openid: phone.openid, bytes: photo.length, sha256 });
});

test('without a gateway the request fails, and no status is made up', async () => {
  const [port] = await freePorts(1);
  const phone = newPhone({ baseUrl: `http://127.0.0.1:${port}` });
  await assert.rejects(phone.request({ path: '/orders' }), ({ errMsg }) => errMsg.startsWith('request:fail '));
  const page = await openOrders(phone);
  assert.equal(page.shown().notice, 'No connection. Pull down to try again.');
});

test('a gateway that was away comes back to a page that knows what to do', async () => {
  const phone = newPhone();
  const page = await openOrders(phone);
  await page.order('tea');
  await stack.stopGateway();
  await page.refresh();
  assert.equal(page.shown().notice, 'No connection. Pull down to try again.');

  // Sessions live in memory here, so the page has to log in again; it does so by itself.
  await stack.restartGateway();
  await page.refresh();
  assert.deepEqual(page.shown(), { openid: phone.openid, orders: ['tea'], notice: '' });
});
