// A page in a real browser, over HTTP/1.1 in the clear and over HTTP/2 with TLS. It is Chromium, which one flag tells whose key to
// accept; Debian's takes a third more to fetch than Firefox does, some 120 MB.
//
//   cargo build --release && npm ci --prefix tests/miniprogram
//   WXGATE_BIN=target/release/wxgate node --test tests/peers/browser.test.js

'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');

const { json, startNodeBackend } = require('../miniprogram/node_backend');
const { stop } = require('../miniprogram/stack');
const { startScene } = require('./scene');

const PAGE = path.join(__dirname, 'browser');
// A browser that says nothing for so long has failed.
const LIMIT = 60_000;

let backend;
let scene;
let browsers = [];
// The heads of the openings that the backend saw.
let openings = [];

before(async () => {
  backend = await startNodeBackend();
  backend.chat.on('headers', (lines, { headers, url }) => openings.push({ headers, url }));
  scene = await startScene({
    toml: `
${backend.toml('app')}
[[routes]]
path = "/page/"
auth = "none"
upstream = "app"
[[routes]]
path = "/own/"
upstream = "app"
[[routes]]
path = "/chat/"
upstream = "app"
websocket = true
token_subprotocol = true
[[routes]]
path = "/query/"
upstream = "app"
websocket = true
token_query = "token"
`,
  });
});

after(async () => {
  await scene?.stop();
  await backend?.stop();
});

afterEach(async () => {
  await Promise.all(browsers.map(stop));
  browsers = [];
  openings = [];
});

// Opens the page as somebody who has just got a login code, and resolves with what it has to tell.
async function visit(origin, openid) {
  const told = serve();
  const profile = fs.mkdtempSync(path.join(scene.dir, 'browser-'));
  const hash = new URLSearchParams({ code: await scene.makeCode(openid), query: 'token' });
  const browser = spawn('chromium', ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
    '--disable-extensions', '--disable-background-networking', '--no-first-run', `--user-data-dir=${profile}`,
    `--ignore-certificate-errors-spki-list=${scene.key}`, `${origin}/page/#${hash}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  browsers.push(browser);
  const said = [];
  browser.stderr.on('data', (chunk) => said.push(chunk));
  const ended = once(browser, 'exit').then(() => assert.fail(`the browser has ended: ${Buffer.concat(said)}`));
  // It ends when the test is over.
  ended.catch(() => {});
  return Promise.race([told, ended]);
}

// The backend of one visit: files, answers that go on when the page has heard of what there was, and the report.
function serve() {
  const open = {};
  const send = (stream) => {
    const { response, openid, sent } = open[stream];
    open[stream].sent += 1;
    if (stream === 'events') return response.write(`id: ${sent}\ndata: event ${sent} for ${openid}\n\n`);
    return sent < 3 ? response.write(`piece ${sent}\n`) : response.end();
  };
  const begin = (stream, type, request, response) => {
    open[stream] = { response, openid: request.headers['x-wx-openid'], sent: 0 };
    response.writeHead(200, { 'content-type': type });
    response.flushHeaders();
    send(stream);
  };
  return new Promise((resolve) => {
    backend.answers((request, response) => {
      const [at] = request.url.split('?');
      if (at === '/own/me') return json(response, 200, { openid: request.headers['x-wx-openid'] });
      if (at === '/query/events') return begin('events', 'text/event-stream', request, response);
      if (at === '/own/stream') return begin('stream', 'text/plain', request, response);
      if (at === '/page/report') resolve(JSON.parse(request.body));
      if (at === '/own/heard') send(JSON.parse(request.body).stream);
      const name = { '/page/': 'page.html', '/page/page.js': 'page.js' }[at];
      response.setHeader('content-type', name === 'page.js' ? 'text/javascript' : 'text/html');
      return response.end(name ? fs.readFileSync(path.join(PAGE, name)) : '');
    });
  });
}

for (const [name, origin, over, via] of [
  ['HTTP/1.1', () => scene.baseUrl, 'http/1.1', '1.1 wxgate'],
  ['HTTP/2 and TLS', () => scene.secureUrl, 'h2', '2.0 wxgate'],
]) {
  test(`a page logs in, talks over WebSockets, hears events, and is told of its log-out, over ${name}`, { timeout: LIMIT }, async () => {
    const openid = `oPage${over.replace(/\W/g, '')}`;
    const report = await visit(origin(), openid);
    // Both WebSockets were closed by the gateway, for the session that is over.
    assert.deepEqual(report, { openid, codes: [[1008, true], [1008, true]], over });
    assert.deepEqual(openings.map(({ url }) => url), ['/chat/sub', '/query/chat']);
    assert.deepEqual(openings.map(({ headers }) => headers['sec-websocket-protocol']), ['v2.chat', undefined]);
    for (const { headers } of openings) {
      // Over HTTP/2 each is a stream of the connection that the page has.
      assert.deepEqual([headers['x-wx-openid'], headers.via], [openid, via]);
      assert.ok(!JSON.stringify(headers).includes('wxg_'), 'the token stays with the gateway');
    }
  });
}
