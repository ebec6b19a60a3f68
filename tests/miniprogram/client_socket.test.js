// WebSockets of the client package, against the wxgate binary. How to run it: see the head of client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { failure, heard } = require('./client_phone');
const { openStories } = require('./client_stories');

const ROUTES = `
[[routes]]
path = "/chat"
upstream = "chat"
websocket = true
[[routes]]
path = "/no-chat"
upstream = "chat"
`;

const { world, newPhone, phoneWithDeadToken } = openStories({ users: 'oSocket', toml: (backend) => backend.toml('chat') + ROUTES });

async function chatOf(phone, more = {}) {
  const chat = phone.connectSocket({ url: '/chat', ...more });
  await chat.opened;
  return chat;
}

// What the backend says to a message, over whatever connection there is.
async function echo(chat, data) {
  const answer = heard(chat.onMessage);
  await chat.send({ data });
  return (await answer).data;
}

// The backend's end of the phone's connection.
function farEnd(phone) {
  const [socket] = world.backend.sockets().filter(({ openid, readyState }) => openid === phone.openid && readyState === 1);
  return socket;
}

test('a WebSocket is opened with the session, after a login', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  assert.equal(await echo(chat, 'hello'), `${phone.openid}: hello`);
  const bytes = await echo(chat, new Uint8Array([1, 2, 3]).buffer);
  assert.deepEqual([...new Uint8Array(bytes)], [1, 2, 3]);
  assert.equal(phone.sentTo('/v1/verify'), 1);
  chat.close();
});

test('a lost connection is made again, with the same session', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const lost = heard(chat.onReconnect);
  const open = heard(chat.onOpen);
  farEnd(phone).terminate();
  const { code, delay } = await lost;
  assert.equal(code, 1006);
  assert.ok(delay >= 500 && delay <= 1000, `${delay} ms`);
  await open;
  assert.equal(await echo(chat, 'again'), `${phone.openid}: again`);
  assert.equal(phone.sentTo('/v1/verify'), 1);
  chat.close();
});

test('pauses grow while connections do not stand, and begin anew when one has stood', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const delays = [];
  chat.onReconnect(({ delay }) => delays.push(delay));
  const lose = async () => {
    const open = heard(chat.onOpen);
    farEnd(phone).close(1011);
    await open;
  };
  for (let n = 0; n < 7; n += 1) await lose();
  phone.pass(61_000);
  await lose();
  [1, 2, 4, 8, 16, 30, 30, 1].forEach((seconds, n) => {
    assert.ok(delays[n] >= seconds * 500 && delays[n] <= seconds * 1000, `pause ${n} is ${delays[n]} ms`);
  });
  chat.close();
});

test('a dead token makes a login, and then the WebSocket opens', async () => {
  const phone = phoneWithDeadToken();
  const chat = await chatOf(phone);
  assert.equal(await echo(chat, 'hello'), `${phone.openid}: hello`);
  assert.equal(phone.sentTo('/v1/verify'), 1);
  chat.close();
});

test('when the session ends the WebSocket comes back with a new one', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const { token } = await phone.login();
  const lost = heard(chat.onReconnect);
  const open = heard(chat.onOpen);
  await world.stack.logOut(token);
  assert.equal((await lost).code, 1008);
  await open;
  assert.equal(await echo(chat, 'again'), `${phone.openid}: again`);
  assert.notEqual(phone.token, token);
  assert.equal(phone.sentTo('/v1/verify'), 2);
  chat.close();
});

test('a backend that closes with 1008 has the last word while the session lives', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const closed = heard(chat.onClose);
  farEnd(phone).close(1008, 'banned');
  assert.deepEqual({ ...(await closed) }, { code: 1008, reason: 'banned' });
  assert.equal(phone.sentTo('/v1/verify'), 1);
  assert.equal(phone.sentTo('/chat'), 1);
});

test('an end that somebody has meant is one', async () => {
  for (const code of [1000, 1003, 4000]) {
    const phone = newPhone();
    const chat = await chatOf(phone);
    const closed = heard(chat.onClose);
    farEnd(phone).close(code, 'enough');
    assert.deepEqual({ ...(await closed) }, { code, reason: 'enough' });
    assert.equal(phone.sentTo('/chat'), 1);
  }
});

test('the caller may decide otherwise', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone, { reconnect: ({ code }) => code === 4000 });
  const open = heard(chat.onOpen);
  farEnd(phone).close(4000);
  await open;
  const closed = heard(chat.onClose);
  farEnd(phone).close(1011);
  assert.equal((await closed).code, 1011);
});

test('who closes it hears nothing more of it', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const gone = new Promise((resolve) => farEnd(phone).on('close', resolve));
  const told = [];
  chat.onClose((close) => told.push(close.code));
  chat.onReconnect(() => told.push('reconnect'));
  chat.close({ code: 1000, reason: 'done' });
  chat.close();
  assert.equal(await gone, 1000);
  assert.equal((await failure(chat.send({ data: 'late' }))).code, 'socket_not_open');
  assert.deepEqual(told, [1000]);
  assert.equal(phone.sentTo('/chat'), 1);
});

test('who closes it during the login never opens it', async () => {
  const phone = newPhone();
  const chat = phone.connectSocket({ url: '/chat' });
  const opened = failure(chat.opened);
  chat.close();
  assert.equal((await opened).code, 'socket_not_open');
  await phone.login();
  assert.equal(phone.sentTo('/chat'), 0);
});

test('nothing is kept for later while there is no connection', async () => {
  const phone = newPhone();
  const chat = phone.connectSocket({ url: '/chat' });
  assert.equal((await failure(chat.send({ data: 'early' }))).code, 'socket_not_open');
  await chat.opened;
  const second = phone.connectSocket({ url: '/chat' });
  await new Promise(setImmediate);
  assert.equal(phone.sentTo('/chat'), 2, 'it is being opened');
  assert.equal((await failure(second.send({ data: 'early' }))).code, 'socket_not_open');
  second.close();
  await echo(chat, 'the other one goes on');
  assert.equal(phone.sentTo('/v1/session'), 0, 'who has closed it does not wonder why it is not open');
  chat.close();
});

test('a log-out ends the WebSocket and makes no login', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const closed = heard(chat.onClose);
  await phone.logout();
  assert.equal((await closed).code, 1008);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('after a log-out that nobody heard of, a lost WebSocket stays lost', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const closed = heard(chat.onClose);
  phone.wx.request = ({ fail }) => void fail({ errMsg: 'request:fail' });
  await failure(phone.logout());
  farEnd(phone).terminate();
  assert.equal((await closed).code, 1006);
  assert.equal(phone.sentTo('/chat'), 1);
});

test('a user who may not log in has no WebSocket either', async () => {
  const phone = newPhone();
  await world.stack.orderFault({ fault: 'errcode', errcode: 40226 });
  const chat = phone.connectSocket({ url: '/chat' });
  const closed = heard(chat.onClose);
  assert.equal((await failure(chat.opened)).code, 'user_blocked');
  assert.equal((await closed).error.code, 'user_blocked');
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('an opening that is refused for ever is given up', async () => {
  const phone = newPhone();
  const chat = phone.connectSocket({ url: '/no-chat' });
  const errors = [];
  chat.onError(({ code }) => errors.push(code));
  const error = await failure(chat.opened);
  assert.equal(error.code, 'socket_refused');
  assert.equal(phone.sentTo('/no-chat'), 10);
  assert.deepEqual(errors, Array(10).fill('no_answer'));
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('callbacks are told of the first opening, or that there is none', async () => {
  const phone = newPhone();
  const opened = await new Promise((success, fail) => {
    const chat = phone.connectSocket({ url: '/chat', success: (result) => success({ chat, result }), fail });
  });
  assert.ok(opened.result.header);
  opened.chat.close();
  const error = await new Promise((fail, success) => void phone.connectSocket({ url: 'elsewhere', success, fail }));
  assert.equal(error.code, 'foreign_url');
});

test('a gateway that was away is found again, and its users log in anew', async () => {
  const phone = newPhone();
  const chat = await chatOf(phone);
  const down = heard(chat.onError);
  await world.stack.stopGateway();
  assert.equal((await down).code, 'no_answer');
  const open = heard(chat.onOpen);
  // Sessions live in memory here, so the old one is gone.
  await world.stack.restartGateway();
  await open;
  assert.equal(await echo(chat, 'again'), `${phone.openid}: again`);
  assert.equal(phone.sentTo('/v1/verify'), 2);
  chat.close();
});
