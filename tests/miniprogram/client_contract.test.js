// CONTRACT TESTS. Avatars as the client package expects them of wxgate. What answers here is a server in this process that
// speaks the contract; these stories move to the binary once it has the endpoint.

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

// One user's wxgate, as far as an avatar needs it.
function createGateway() {
  const sessions = new Set();
  const state = { logins: 0 };

  function refuse(response, status, code, headers = {}) {
    const requestId = randomBytes(16).toString('hex');
    json(response, status, { error: 'No.', code, requestId }, { 'X-Request-Id': requestId, ...headers });
  }

  const endpoints = {
    'POST /v1/verify'(request, response) {
      state.logins += 1;
      const token = `wxg_${randomBytes(32).toString('base64url')}`;
      sessions.add(token);
      json(response, 200, { token, expiresIn: 86_400 });
    },
    'POST /v1/profile/avatar'(request, response) {
      const [, name] = request.body.toString('latin1').match(/form-data; name="([^"]*)"/);
      if (name !== 'file') return refuse(response, 400, 'bad_request');
      if (!request.body.includes(PNG)) return refuse(response, 415, 'unsupported_image');
      return json(response, 200, { avatarUrl: 'https://api.example.com/v1/avatars/1.png' });
    },
  };

  return {
    state,
    end: () => sessions.clear(),
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
