// CONTRACT TESTS. Profiles, avatars and phone numbers as the client package expects them of wxgate. What answers here is a
// server in this process that speaks the contract; these stories move to the binary once it has the endpoints.

'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, afterEach, before, beforeEach, test } = require('node:test');

const { failure, openClient } = require('./client_phone');
const { json, startNodeBackend } = require('./node_backend');

const APP_ID = 'wx4f4bc4dec97d474b';
const PNG = Buffer.from('89504e470d0a1a0a', 'hex');

let server;
let gateway;
let phone;
let dir;

before(async () => {
  server = await startNodeBackend();
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-contract-'));
});

after(async () => {
  await server?.stop();
  fs.rmSync(dir, { recursive: true });
});

beforeEach(() => {
  gateway = createGateway();
  server.answers(gateway.answer);
  phone = openClient({ appId: APP_ID, openid: 'oContract', baseUrl: `http://127.0.0.1:${server.port}` });
  let codes = 0;
  phone.wx.login = ({ success }) => success({ errMsg: 'login:ok', code: `code-${(codes += 1)}` });
});

afterEach(() => phone.switchOff());

// One user's wxgate, and WeChat behind it. What WeChat encrypts is good with the key that it has then; the gateway knows the
// key of its newest login.
function createGateway() {
  const sessions = new Set();
  const profile = { version: 0, fields: {} };
  const state = { logins: 0, phoneCodes: [], key: 0, known: 0, rotates: true };

  function refuse(response, status, code, headers = {}) {
    const requestId = randomBytes(16).toString('hex');
    json(response, status, { error: 'No.', code, requestId }, { 'X-Request-Id': requestId, ...headers });
  }

  function change(fields, source) {
    profile.version += 1;
    for (const [name, value] of Object.entries(fields)) {
      profile[name] = value;
      profile.fields[name] = { source, updatedAt: '2026-11-26T00:00:00Z' };
    }
  }

  const endpoints = {
    'POST /v1/verify'(request, response) {
      state.logins += 1;
      if (state.rotates) state.key += 1;
      state.known = state.key;
      const token = `wxg_${randomBytes(32).toString('base64url')}`;
      sessions.add(token);
      json(response, 200, { token, expiresIn: 86_400 });
    },
    'GET /v1/profile': (request, response) => json(response, 200, profile),
    'PUT /v1/profile'(request, response) {
      const { encryptedData, iv, ...fields } = JSON.parse(request.body);
      if (encryptedData && encryptedData !== `with key ${state.known}`) return refuse(response, 409, 'session_key_stale');
      if (encryptedData) change({ city: 'Guangzhou' }, 'decrypted');
      if (Object.keys(fields).length) change(fields, 'client');
      return json(response, 200, profile);
    },
    'POST /v1/profile/avatar'(request, response) {
      const [, name] = request.body.toString('latin1').match(/form-data; name="([^"]*)"/);
      if (name !== 'file') return refuse(response, 400, 'bad_request');
      if (!request.body.includes(PNG)) return refuse(response, 415, 'unsupported_image');
      change({ avatarUrl: 'https://api.example.com/v1/avatars/1.png' }, 'client');
      return json(response, 200, { avatarUrl: profile.avatarUrl });
    },
    'POST /v1/phone'(request, response) {
      const { code } = JSON.parse(request.body);
      state.phoneCodes.push(code);
      if (code.startsWith('code-')) return refuse(response, 400, 'wrong_code_kind');
      return json(response, 200, { phoneNumber: '13800000000', purePhoneNumber: '13800000000', countryCode: '86' });
    },
  };

  return {
    state,
    end: () => sessions.clear(),
    // As WeChat's getUserInfo.
    encrypted: () => ({ encryptedData: `with key ${state.key}`, iv: 'iv' }),
    answer(request, response) {
      const what = `${request.method} ${request.url}`;
      const token = request.headers.authorization?.replace('Bearer ', '');
      if (what !== 'POST /v1/verify' && !sessions.has(token)) {
        return refuse(response, 401, token ? 'token_invalid' : 'token_missing', { 'WWW-Authenticate': 'Bearer' });
      }
      return endpoints[what](request, response);
    },
  };
}

function file(name, bytes) {
  const filePath = path.join(dir, name);
  fs.writeFileSync(filePath, bytes);
  return filePath;
}

// Objects of the Mini Program's world, as objects of this one.
const plain = (value) => JSON.parse(JSON.stringify(value));

test('a nickname is sent and read back', async () => {
  const changed = await phone.updateProfile({ nickName: '小明' });
  assert.equal(changed.nickName, '小明');
  assert.equal(changed.version, 1);
  assert.deepEqual(plain(await phone.getProfile()), plain(changed));
  assert.equal(changed.fields.nickName.source, 'client');
});

test('an avatar is uploaded as the file of a form, after a login where that is needed', async () => {
  await phone.login();
  gateway.end();
  const avatar = phone.uploadAvatar(file('avatar.png', PNG));
  let progress = 0;
  avatar.onProgressUpdate((update) => (progress = update.progress));
  assert.deepEqual(plain(await avatar), { avatarUrl: 'https://api.example.com/v1/avatars/1.png' });
  assert.equal(progress, 100);
  assert.equal(gateway.state.logins, 2);
});

test('what is no image is refused in words', async () => {
  const error = await failure(phone.uploadAvatar(file('avatar.txt', 'text')));
  assert.equal(error.code, 'unsupported_image');
  assert.equal(error.statusCode, 415);
});

test('a stale session_key makes one login, and the data is sent once more', async () => {
  await phone.login();
  const { token } = phone;
  // Somebody has called wx.login and not told the gateway; the next login keeps that key.
  gateway.state.key = 7;
  gateway.state.rotates = false;
  const changes = Array.from({ length: 5 }, () => phone.updateProfile(gateway.encrypted()));
  for (const change of changes) assert.equal((await change).city, 'Guangzhou');
  assert.equal(gateway.state.logins, 2);
  assert.notEqual(phone.token, token);
});

test('where a login makes a new key the data is got anew, if the client may ask for it', async () => {
  await phone.login();
  gateway.state.key = 7;
  let asked = 0;
  const getUserInfo = async () => {
    asked += 1;
    return gateway.encrypted();
  };
  assert.equal((await phone.updateProfile(getUserInfo)).city, 'Guangzhou');
  assert.equal(asked, 2);
  assert.equal(gateway.state.logins, 2);
});

test('data of WeChat is asked for when there is a session, and not before', async () => {
  assert.equal((await phone.updateProfile(gateway.encrypted)).city, 'Guangzhou');
  assert.equal(phone.sentTo('/v1/profile'), 1);
});

test('what WeChat says when it gives no data is passed on whole', async () => {
  const said = { errMsg: 'getUserProfile:fail can only be invoked by user TAP gesture.' };
  assert.equal(await failure(phone.updateProfile(() => Promise.reject(said))), said);
});

test('a session_key that stays stale is told of after one login', async () => {
  await phone.login();
  gateway.state.key = 7;
  const error = await failure(phone.updateProfile(gateway.encrypted()));
  assert.equal(error.code, 'session_key_stale');
  assert.equal(gateway.state.logins, 2);
});

test('a stale session_key costs nobody the session while the login fails', async () => {
  await phone.login();
  gateway.state.key = 7;
  phone.wx.login = ({ fail }) => fail({ errMsg: 'login:fail' });
  assert.equal((await failure(phone.updateProfile(gateway.encrypted()))).code, 'wx_login_failed');
  await phone.getProfile();
  assert.equal(gateway.state.logins, 1);
});

test('the code of the phone button becomes a number, also after a login', async () => {
  await phone.login();
  gateway.end();
  const number = await phone.getPhoneNumber({ detail: { code: 'phone-code' } });
  assert.equal(number.purePhoneNumber, '13800000000');
  assert.deepEqual(gateway.state.phoneCodes, ['phone-code']);
});

test('a user who declines is not asked of the gateway', async () => {
  const detail = { errMsg: 'getPhoneNumber:fail user deny' };
  assert.equal((await failure(phone.getPhoneNumber({ detail }))).code, 'phone_declined');
  assert.deepEqual(phone.sent, []);
});

test('a login code in the place of a phone code is told apart', async () => {
  assert.equal((await failure(phone.getPhoneNumber({ detail: { code: 'code-1' } }))).code, 'wrong_code_kind');
});

test('headers are found however they are spelled', async () => {
  let busy = true;
  server.answers((request, response) => {
    if (request.url === '/v1/verify' || !busy) return gateway.answer(request, response);
    busy = false;
    return json(response, 503, {}, { 'RETRY-AFTER': '3' });
  });
  await phone.getProfile();
  assert.equal(phone.waits.length, 1);
  assert.ok(phone.waits[0] >= 3000);
});

test('endpoints have callbacks too', async () => {
  const profile = await new Promise((success, fail) => void phone.updateProfile({ nickName: 'Band' }, { success, fail }));
  assert.equal(profile.nickName, 'Band');
  const error = await new Promise((fail, success) => void phone.getPhoneNumber({ detail: {} }, { success, fail }));
  assert.equal(error.code, 'phone_declined');
});
