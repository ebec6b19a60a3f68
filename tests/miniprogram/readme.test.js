// The Mini Program of the README, run as it stands there. How to run it: see the head of orders.test.js.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const vm = require('node:vm');

const { startStack } = require('./stack');
const { createWx } = require('./wx');

const OPENID = 'oReader_of_the_README';

let stack;
let phone;

before(async () => {
  stack = await startStack();
  phone = createWx({ appId: stack.appId, openid: OPENID, wechat: stack.wechat });
});

after(async () => {
  phone?.switchOff();
  await stack?.stop();
});

// What the first block of JavaScript in the README defines.
function readme() {
  const text = fs.readFileSync(path.join(__dirname, '../../README.md'), 'utf8');
  const [, code] = text.match(/^```js\n(.*?)^```$/ms);
  const { wx } = phone;
  return vm.runInNewContext(`${code}\n({ call })`, { wx, base: stack.baseUrl });
}

test('what the README shows logs in once and asks the backend', async () => {
  const before = await stack.exchanges();
  const { call } = readme();
  const first = await call('/orders');
  assert.equal(first.statusCode, 200);
  assert.equal(first.data.openid, OPENID);
  assert.equal((await call('/orders')).data.openid, OPENID);
  assert.equal((await stack.exchanges()) - before, 1);
});

test('what the README shows finds its way back after its session has ended', async () => {
  phone.wx.setStorageSync('token', 'wxg_of-a-session-that-has-ended');
  assert.equal((await readme().call('/orders')).data.openid, OPENID);
});

test('what the README shows tells why a login failed', async () => {
  phone.wx.removeStorageSync('token');
  await stack.orderFault({ fault: 'errcode', errcode: 40226 });
  await assert.rejects(readme().call('/orders'), { message: 'user_blocked' });
});
