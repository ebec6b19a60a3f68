// A Mini Program that chats: wx.connectSocket through the wxgate binary to a WebSocket server of Node's.
//
//   cargo build --release
//   python3 -m venv .venv && .venv/bin/pip install -r tests/miniprogram/requirements.txt
//   npm ci --prefix tests/miniprogram
//   WXGATE_BIN=target/release/wxgate WXGATE_PYTHON=.venv/bin/python node --test tests/miniprogram/chat.test.js

'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const http2 = require('node:http2');
const { after, afterEach, before, test } = require('node:test');

const { WebSocketServer } = require('ws');

const { openPhone } = require('./phone');
const { freePorts, startStack } = require('./stack');

const LIMIT = 10_000;

let server;
let stack;
let phones = [];
let pages = [];
// The heads of the openings that the backend saw.
let seen = [];

before(async () => {
  const [port] = await freePorts(1);
  server = new WebSocketServer({ port, host: '127.0.0.1' });
  await once(server, 'listening');
  server.on('connection', (socket, { url, headers }) => {
    seen.push({ url, headers });
    const openid = headers['x-wx-openid'];
    socket.send(JSON.stringify({ openid }));
    socket.on('message', (data, binary) => {
      // Bytes are for whoever sent them, text is for the room.
      if (binary) return socket.send(data);
      const said = JSON.stringify({ openid, text: data.toString() });
      server.clients.forEach((client) => client.send(said));
    });
  });
  stack = await startStack({
    more: `
[[upstreams]]
name = "chat"
servers = ["http://127.0.0.1:${port}"]

[[routes]]
path = "/chat/"
upstream = "chat"
websocket = true
token_subprotocol = true

[server.http2]
prior_knowledge = true
`,
  });
});

after(async () => {
  await stack?.stop();
  server.close();
});

afterEach(() => {
  pages.forEach((page) => page.onUnload());
  pages = [];
  phones.forEach((phone) => phone.switchOff());
  phones = [];
  seen = [];
});

function newPhone(openid = `oUser_${randomBytes(6).toString('hex')}`) {
  const phone = openPhone({ appId: stack.appId, openid, baseUrl: stack.baseUrl, wechat: stack.wechat });
  phones.push(phone);
  return phone;
}

// Somebody who has the chat open.
async function enters(phone) {
  const page = phone.open('chat');
  pages.push(page);
  await page.onLoad();
  await until(() => page.shown().openid === phone.openid);
  return page;
}

// What tests wait for has no callback of its own.
async function until(holds) {
  const deadline = Date.now() + LIMIT;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `waited in vain for ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function logsOut(phone) {
  const orders = phone.open('orders');
  await orders.logOut(true);
}

test('users chat, and the backend knows who says what', async () => {
  const [anna, bert] = [newPhone(), newPhone()];
  const both = [await enters(anna), await enters(bert)];
  both[0].say('你好');
  await until(() => both[1].shown().said.length === 1);
  both[1].say('x'.repeat(100_000));
  for (const page of both) {
    await until(() => page.shown().said.length === 2);
    assert.deepEqual(page.shown().said, [`${anna.openid}: 你好`, `${bert.openid}: ${'x'.repeat(100_000)}`]);
  }
  const [{ url, headers }] = seen;
  assert.equal(url, '/chat/room');
  assert.equal(headers.authorization, undefined, 'the token stays with the gateway');
  both.forEach((page) => page.onUnload());
  await until(() => both.every((page) => page.shown().closedWith.join() === '1000'));
});

test('a log-out everywhere closes the chat with 1008, and the page comes back as the same user', async () => {
  const openid = `oUser_${randomBytes(6).toString('hex')}`;
  const [phone, tablet, other] = [newPhone(openid), newPhone(openid), newPhone()];
  const [page, bystander] = [await enters(phone), await enters(other)];
  const token = phone.wx.getStorageSync('token');
  await logsOut(tablet);
  await until(() => page.shown().closedWith.length === 1 && page.shown().openid === openid);
  assert.deepEqual(page.shown().closedWith, [1008]);
  assert.notEqual(phone.wx.getStorageSync('token'), token, 'it has logged in anew');
  page.say('back');
  await until(() => bystander.shown().said.includes(`${openid}: back`));
  assert.deepEqual(bystander.shown().closedWith, []);
});

test('a gateway that stops says 1001, and the page comes back when it can', async () => {
  const phone = newPhone();
  const page = await enters(phone);
  await stack.stopGateway();
  await until(() => page.shown().closedWith.length > 0);
  assert.equal(page.shown().closedWith[0], 1001);
  await stack.restartGateway();
  // Sessions live in memory here, and whoever could not connect is told no close code to come back on.
  phone.wx.removeStorageSync('token');
  await enters(phone);
});

test('without a session nothing is opened, and the backend hears of nobody', async () => {
  const { wx } = newPhone();
  for (const header of [{}, { Authorization: 'Bearer wxg_forged' }, { 'X-WX-OPENID': 'oVictim' }]) {
    const task = wx.connectSocket({ url: `${stack.baseUrl.replace('http', 'ws')}/chat/room`, header });
    // A phone is not told why.
    const { errMsg } = await new Promise((resolve) => task.onError(resolve));
    assert.equal(errMsg, 'connectSocket:fail');
  }
  assert.deepEqual(seen, []);
});

// Like browsers, this client closes a WebSocket for which it offered subprotocols and was told of none, or of another.
test('a token among the subprotocols opens one too, and the backend chooses of the others', async () => {
  const phone = newPhone();
  await enters(phone);
  const token = phone.wx.getStorageSync('token');
  for (const [protocols, chosen, offered] of [
    [['wxgate', token], 'wxgate', undefined],
    [['wxgate', token, 'v2.chat', 'v1.chat'], 'v2.chat', 'v2.chat, v1.chat'],
  ]) {
    const task = phone.wx.connectSocket({ url: `${stack.baseUrl.replace('http', 'ws')}/chat/room`, protocols });
    const { header } = await new Promise((resolve, reject) => {
      task.onOpen(resolve);
      task.onError(({ errMsg }) => reject(new Error(errMsg)));
    });
    assert.equal(header['sec-websocket-protocol'], chosen);
    const { headers } = seen.at(-1);
    assert.deepEqual([headers['x-wx-openid'], headers['sec-websocket-protocol']], [phone.openid, offered]);
  }
});

test('over HTTP/2 it is a stream, and the same to the backend', async () => {
  const phone = newPhone();
  const page = await enters(phone);
  const session = http2.connect(stack.baseUrl);
  const [settings] = await once(session, 'remoteSettings');
  assert.equal(settings.enableConnectProtocol, true);
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/chat/room',
    'sec-websocket-version': '13',
    authorization: `Bearer ${phone.wx.getStorageSync('token')}`,
  }, { endStream: false });
  const [headers] = await once(stream, 'response');
  assert.equal(headers[':status'], 200);
  let heard = Buffer.alloc(0);
  stream.on('data', (chunk) => (heard = Buffer.concat([heard, chunk])));
  // "hi" in a binary frame, masked with zeros; it comes back without a mask.
  stream.write(Buffer.from([0x82, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
  await until(() => heard.subarray(-4).equals(Buffer.from([0x82, 2, 0x68, 0x69])));
  assert.ok(heard.includes(`{"openid":"${phone.openid}"}`));
  // It may end before the log-out is answered.
  const end = once(stream, 'end');
  await logsOut(newPhone(phone.openid));
  await end;
  assert.deepEqual(heard.subarray(-4), Buffer.from([0x88, 2, 1008 >> 8, 1008 & 255]));
  session.destroy();
  await until(() => page.shown().closedWith.length === 1 && page.shown().openid === phone.openid);
});
