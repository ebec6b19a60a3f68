// node-easywechat asks the stand-in what it would ask WeChat, opens what that encrypts, and encrypts what wxgate opens.
//
//   WXGATE_BIN=target/release/wxgate node --test tests/sdk/easywechat/easywechat.test.js
//
// It needs `npm ci` in this folder and in tests/miniprogram.

'use strict';

const assert = require('node:assert/strict');
const { createHash, randomBytes, randomInt } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, before, beforeEach, test } = require('node:test');

// The front door of the package also wants another one for logins on the web, whose newest release is laid out otherwise.
const MiniApp = require('node-easywechat/dist/MiniApp/Application');
const { AES } = require('node-easywechat/dist/Core/Support/AES');

const { freePorts, start, stop } = require('../../miniprogram/stack');
const { postJson } = require('../../miniprogram/wx');

const APP_ID = 'wx4f4bc4dec97d474b';
const SECRET = 'the secret of a Mini Program that does not exist';
const MESSAGES = 1000;
const BLOCK = 16;
const PIECES = ['a', 'Z', '"', '\\', '/', ' ', '小', '明', '𠮷', 'e\u0301', 'ﬁ', '微信用户', '🐼', '👨\u200d👩\u200d👧\u200d👦', '🇨🇳', '❤\ufe0f'];

let dir;
let base;
let gateway;
let running = [];
const keys = new Map();

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-easywechat-'));
  const [wechat, port, admin] = await freePorts(3);
  base = `http://127.0.0.1:${wechat}`;
  gateway = `http://127.0.0.1:${port}`;
  const wire = await listenIn();
  const config = path.join(dir, 'gateway.toml');
  fs.writeFileSync(config, gatewayToml({ port, admin, wire: wire.address().port }));
  running = [
    () => new Promise((resolve) => wire.close(resolve)),
    ...(await Promise.all([
      start(process.env.WXGATE_BIN, ['simulate', '--listen', `127.0.0.1:${wechat}`, '--app', `${APP_ID}=${SECRET}`], wechat),
      start(process.env.WXGATE_BIN, ['--config', config], port, { WX_APP_SECRET: SECRET }),
    ])).map((process) => () => stop(process)),
  ];
});

after(async () => {
  for (const end of running.reverse()) await end();
  fs.rmSync(dir, { recursive: true });
});

beforeEach(() => postJson(`${base}/_sim/reset`, {}));

function gatewayToml({ port, admin, wire }) {
  return `
[server]
listen = ["127.0.0.1:${port}"]
workers = 1
[admin]
listen = "127.0.0.1:${admin}"
[[apps]]
app_id = "${APP_ID}"
secret = { env = "WX_APP_SECRET" }
api_base = "http://127.0.0.1:${wire}"
[limits]
profile_per_user = "100000/min"
[[upstreams]]
name = "nobody"
servers = ["http://127.0.0.1:1"]
[[routes]]
path = "/"
upstream = "nobody"
`;
}

// Passes on what wxgate asks WeChat, and remembers the keys, which nobody else ever gets to see.
async function listenIn() {
  const wire = http.createServer(async (request, response) => {
    const body = await (await fetch(base + request.url)).text();
    const { openid, session_key: key } = JSON.parse(body);
    if (key) keys.set(openid, key);
    response.setHeader('Connection', 'close');
    response.end(body);
  });
  wire.listen(0, '127.0.0.1');
  await once(wire, 'listening');
  return wire;
}

// The SDK as it comes, with the stand-in for WeChat.
const sdk = (more = {}) => new MiniApp({ app_id: APP_ID, secret: SECRET, http: { baseURL: base }, ...more });
const utils = (more) => sdk(more).getUtils();

const codeOf = async (openid, more = {}) => (await postJson(`${base}/_sim/codes`, { appId: APP_ID, openid, ...more })).code;

// The number that WeChat refuses with, as the SDK tells it.
async function refusal(code, more) {
  const { message } = await utils(more).codeToSession(code).then(
    (told) => assert.fail(`it succeeded with ${JSON.stringify(told)}`),
    (error) => error,
  );
  const [, json] = message.match(/^code2Session error: (.*)$/);
  return JSON.parse(json).errcode;
}

// Something that can be seen, of at most so many characters.
function text(longest) {
  const pieces = Array.from({ length: randomInt(longest) }, () => PIECES[randomInt(PIECES.length)]);
  return [...`a${pieces.join('')}`].slice(0, longest).join('').trim();
}

// A token of wxgate's, and a function that sends a change of the profile.
async function logIn(openid) {
  const { token } = await postJson(`${gateway}/v1/verify`, { jsCode: await codeOf(openid) });
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return (change) => fetch(`${gateway}/v1/profile`, { method: 'PUT', headers, body: JSON.stringify(change) });
}

test('a code is an openid and a key', async () => {
  const told = await utils().codeToSession(await codeOf('oAlice', { unionid: 'uAlice' }));
  assert.deepEqual(Object.keys(told).sort(), ['openid', 'session_key', 'unionid']);
  assert.equal(told.openid, 'oAlice');
  assert.equal(Buffer.from(told.session_key, 'base64').length, BLOCK);
});

test('each refusal has its number', async () => {
  const used = await codeOf('oAlice');
  await utils().codeToSession(used);
  assert.equal(await refusal(used), 40163);
  assert.equal(await refusal("nobody's"), 40029);
  assert.equal(await refusal(await codeOf('oAlice'), { secret: 'another' }), 40125);
  assert.equal(await refusal(await codeOf('oAlice'), { app_id: 'wx0000000000000000' }), 40013);
  await postJson(`${base}/_sim/users`, { openid: 'oMallory', blocked: true });
  assert.equal(await refusal(await codeOf('oMallory')), 40226);
  for (const errcode of [-1, 40164, 40243, 41002, 41004, 45011]) {
    await postJson(`${base}/_sim/faults`, { fault: 'errcode', errcode });
    assert.equal(await refusal(await codeOf('oAlice')), errcode);
  }
});

test('a token of either kind is had, and a phone number with it', async () => {
  for (const stable of [false, true]) {
    // The SDK keeps tokens in files of its own accord.
    const app = sdk({ use_stable_access_token: stable, file_cache: { path: fs.mkdtempSync(path.join(dir, 'tokens-')) } });
    const { code } = await postJson(`${base}/_sim/phone_codes`, { appId: APP_ID, purePhoneNumber: '13800000000' });
    const told = (await app.getClient().request('POST', '/wxa/business/getuserphonenumber', { json: { code } })).toObject();
    assert.equal(told.errcode, 0);
    assert.equal(told.phone_info.purePhoneNumber, '13800000000');
  }
  const { endpoints } = await (await fetch(`${base}/_sim/calls`)).json();
  assert.deepEqual(endpoints, { '/cgi-bin/stable_token': 1, '/cgi-bin/token': 1, '/wxa/business/getuserphonenumber': 2 });
});

test('what the stand-in encrypts the SDK opens', async () => {
  const { session_key: key } = await utils().codeToSession(await codeOf('oAlice'));
  for (let n = 0; n < MESSAGES; n += 1) {
    const userInfo = { nickName: text(32), filler: 'x'.repeat(n % BLOCK) };
    const told = await postJson(`${base}/_sim/user_data`, { appId: APP_ID, openid: 'oAlice', userInfo });
    const { watermark, ...opened } = utils().decryptSession(key, told.iv, told.encryptedData);
    assert.equal(watermark.appid, APP_ID);
    assert.deepEqual(opened, { ...userInfo, openId: 'oAlice' });
    assert.equal(told.signature, createHash('sha1').update(told.rawData + key).digest('hex'));
  }
});

test('what the SDK encrypts wxgate opens', async () => {
  const change = await logIn('oBob');
  const key = Buffer.from(keys.get('oBob'), 'base64');
  for (let n = 0; n < MESSAGES; n += 1) {
    const nickName = text(32);
    const watermark = { appid: APP_ID, timestamp: Math.floor(Date.now() / 1000) };
    const iv = randomBytes(BLOCK);
    const plain = JSON.stringify({ nickName, watermark, filler: 'x'.repeat(n % BLOCK) });
    const encryptedData = AES.encrypt(plain, key, iv, true, 'aes-128-cbc').toString('base64');
    const answer = await change({ encryptedData, iv: iv.toString('base64') });
    assert.equal(answer.status, 200, plain);
    assert.equal((await answer.json()).nickName, nickName);
  }
});

test('what neither can open wxgate refuses in one way', async () => {
  const change = await logIn('oCarol');
  const key = Buffer.from(keys.get('oCarol'), 'base64');
  const iv = randomBytes(BLOCK).toString('base64');
  const encrypt = (plain, by, padded = true) => AES.encrypt(plain, by, Buffer.from(iv, 'base64'), padded, 'aes-128-cbc').toString('base64');
  const answers = new Set();
  const broken = [encrypt('{}', randomBytes(BLOCK)), encrypt('no JSON', key), encrypt(' '.repeat(BLOCK), key, false), randomBytes(64).toString('base64')];
  for (const encryptedData of broken) {
    assert.throws(() => utils().decryptSession(key.toString('base64'), iv, encryptedData), /^Error: Fail to decrypt data/);
    const answer = await change({ encryptedData, iv });
    const { requestId, ...body } = await answer.json();
    assert.match(requestId, /^[0-9a-f]{32}$/);
    answers.add(JSON.stringify([answer.status, body]));
  }
  assert.equal(answers.size, 1, [...answers].join('\n'));
  assert.match([...answers][0], /^\[409,.*"session_key_stale"/);
});
