// The example's Mini Program in a simulator, against the wxgate binary with the example's own gateway.toml, the stand-in of
// WeChat, the chat, and each of the backends in turn; that in Go where Go is installed. How to run it: see the head of
// client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');

const { json, startNodeBackend } = require('./node_backend');
const { openApp } = require('./simulator');
const { freePorts, start, stop } = require('./stack');
const { createWx, postJson } = require('./wx');

const EXAMPLE = path.join(__dirname, '../../examples/miniprogram');
const WXGATE = process.env.WXGATE_BIN;
const SECRET = 'any-secret';

let dir;
let wechat;
let gateway;
let chat;
let ports;
let config;

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-example-'));
  const [gatewayPort, standInPort, orders, chatPort, admin] = await freePorts(5);
  ports = { gateway: gatewayPort, orders };
  // The ports of the README are everybody's.
  const moved = { 8080: gatewayPort, 9902: standInPort, 3001: orders, 3002: chatPort };
  const toml = fs.readFileSync(path.join(EXAMPLE, 'gateway.toml'), 'utf8').replace(/127\.0\.0\.1:(\d+)/g, (_, port) => `127.0.0.1:${moved[port]}`);
  fs.writeFileSync(path.join(dir, 'gateway.toml'), `${toml}\n[admin]\nlisten = "127.0.0.1:${admin}"\n`);

  const { appId, standIn } = require(path.join(EXAMPLE, 'app/config.js'));
  config = { appId, baseUrl: `http://127.0.0.1:${gatewayPort}`, standIn: { ...standIn, url: `http://127.0.0.1:${standInPort}` } };
  wechat = await start(WXGATE, ['simulate', '--listen', `127.0.0.1:${standInPort}`, '--app', `${appId}=${SECRET}`], standInPort);
  chat = await start(process.execPath, [path.join(EXAMPLE, 'backends/chat/server.js'), String(chatPort)], chatPort);
  gateway = await start(WXGATE, ['--config', path.join(dir, 'gateway.toml')], gatewayPort, { WX_APP_SECRET: SECRET });
});

after(async () => {
  await Promise.all([gateway, chat, wechat].filter(Boolean).map(stop));
  fs.rmSync(dir, { recursive: true });
});

// Opens the Mini Program on a phone of this user, and switches the phone off after the story.
async function withApp(openid, story, more = {}) {
  const device = createWx({ appId: config.appId });
  const app = openApp({ ...config, standIn: { ...config.standIn, openid }, ...more }, device.wx);
  try {
    await story(app, device);
  } finally {
    app.close();
    device.switchOff();
  }
}

const BACKENDS = {
  flask: (port) => start(process.env.WXGATE_PYTHON, [path.join(EXAMPLE, 'backends/flask/app.py'), port], port),
  node: (port) => start(process.execPath, [path.join(EXAMPLE, 'backends/node/server.js'), port], port),
  go(port) {
    const binary = path.join(dir, 'orders-go');
    const env = { ...process.env, GOFLAGS: '-mod=mod', GOPROXY: 'off', GOTOOLCHAIN: 'local' };
    execFileSync('go', ['build', '-o', binary, '.'], { cwd: path.join(EXAMPLE, 'backends/go'), env, stdio: 'inherit' });
    return start(binary, [port], port);
  },
};

for (const [name, run] of Object.entries(BACKENDS)) {
  const missing = name === 'go' && spawnSync('go', ['version']).status !== 0 && 'Go is not installed';
  test(`a user orders, with the backend in ${name}`, { skip: missing }, async () => {
    const backend = await run(String(ports.orders));
    try {
      await withApp(`oAlice_${name}`, async (app) => {
        const page = app.open('orders');
        await page.shows(({ openid }) => openid === `oAlice_${name}`);
        assert.deepEqual(page.text('.row'), []);
        for (const item of ['tea', '面条']) {
          page.tell('.item', 'input', { value: item });
          page.tap('.order');
          await page.shows(({ orders }) => orders.includes(item));
        }
        assert.deepEqual(page.text('.row'), ['tea', '面条']);
        page.tell('.item', 'input', { value: 'x'.repeat(101) });
        page.tap('.order');
        await page.shows(({ notice }) => notice === 'An order is of 1 to 100 characters.');
      });
      await withApp(`oBob_${name}`, async (app) => {
        const page = app.open('orders');
        await page.shows(({ openid }) => openid === `oBob_${name}`);
        assert.deepEqual(page.text('.row'), []);
      });
    } finally {
      await stop(backend);
    }
  });
}

test('a user is told when the shop is away', async () => {
  await withApp('oAlice', async (app) => {
    const page = app.open('orders');
    await page.shows(({ notice }) => /^Something went wrong \(upstream_unreachable, [0-9a-f]{32}\)\.$/.test(notice));
    assert.equal(page.text('.notice').length, 1);
  });
});

test('a user chats, and the chat outlives the session', async () => {
  await withApp('oAlice', async (app) => {
    const page = app.open('chat');
    await page.shows(({ state }) => state === 'open');
    page.tell('.text', 'input', { value: 'anybody here?' });
    page.tap('.say');
    await page.shows(({ lines, text }) => lines.includes('oAlice: anybody here?') && text === '');
    // The session ends, and the chat comes back with a new one.
    const { token } = await app.client().login();
    await fetch(`${config.baseUrl}/v1/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    await page.shows(({ state }) => state === 'connecting');
    await page.shows(({ state }) => state === 'open');
    page.tell('.text', 'input', { value: 'back again' });
    page.tap('.say');
    await page.shows(({ lines }) => lines.includes('oAlice: back again'));
  });
});

test('a user says who they are', async () => {
  const number = '13800000000';
  const { code } = await postJson(`${config.standIn.url}/_sim/phone_codes`, { appId: config.appId, purePhoneNumber: number });
  await withApp('oAlice_who', async (app) => {
    const page = app.open('profile');
    page.tell('.nickname', 'submit', { value: { nickName: '小明' } });
    await page.shows(({ nickName }) => nickName === '小明');
    page.tell('.nickname', 'submit', { value: { nickName: '' } });
    await page.shows(({ notice }) => notice !== '');
    page.tell('.tell', 'getphonenumber', { code, errMsg: 'getPhoneNumber:ok' });
    await page.shows(({ phone, notice }) => phone === number && notice === '');
    assert.deepEqual(page.text('.phone'), [number]);
    page.tell('.tell', 'getphonenumber', { errMsg: 'getPhoneNumber:fail user deny' });
    await page.shows(({ notice }) => notice === 'No number was handed over.');
    page.tap('.leave');
    await page.shows(({ phone, nickName }) => phone === '' && nickName === '');
  });
  // The profile outlives the session, and the phone.
  await withApp('oAlice_who', async (app) => {
    await app.open('profile').shows(({ nickName }) => nickName === '小明');
  });
});

// CONTRACT: the binary takes no avatars yet. What answers this page is the test, in the contract's words.
test('a user chooses an avatar', async () => {
  const server = await startNodeBackend();
  const avatarUrl = 'https://api.example.com/v1/avatars/1.png';
  const answers = {
    '/_sim/codes': { code: 'code' },
    '/v1/verify': { token: 'wxg_token', expiresIn: 86_400 },
    '/v1/profile': { version: 1, fields: {} },
    '/v1/profile/avatar': { avatarUrl },
  };
  server.answers((request, response) => json(response, 200, answers[request.url]));
  const url = `http://127.0.0.1:${server.port}`;
  const choose = async (app) => {
    const page = app.open('profile');
    page.tell('.choose', 'chooseavatar', { avatarUrl: __filename });
    await page.shows((data) => data.avatarUrl === avatarUrl);
  };
  try {
    await withApp('oAlice', choose, { baseUrl: url, standIn: { url, openid: 'oAlice' } });
  } finally {
    await server.stop();
  }
});
