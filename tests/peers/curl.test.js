// curl before the gateway and nginx behind it: what comes through is what comes without.
//
//   cargo build --release
//   WXGATE_BIN=target/release/wxgate node --test tests/peers/curl.test.js

'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');

const { freePorts, start, stop } = require('../miniprogram/stack');
const { startScene } = require('./scene');

const WHOLE = Buffer.concat([Buffer.from('whole '.repeat(100_000)), randomBytes(400_000)]);
const TEXT = 'a line that is worth compressing\n'.repeat(10_000);

// What an answer says of its body, if it says anything.
const COMPARED = ['accept-ranges', 'allow', 'content-encoding', 'content-length', 'content-range', 'content-type', 'etag', 'last-modified', 'vary'];

let scene;
let direct;
let nginx;
let token;
let ways;

before(async () => {
  const [port] = await freePorts(1);
  direct = `http://127.0.0.1:${port}`;
  scene = await startScene({
    toml: `
[[upstreams]]
name = "files"
servers = ["${direct}"]
[[routes]]
path = "/"
upstream = "files"
`,
  });
  const root = path.join(scene.dir, 'files');
  fs.mkdirSync(path.join(root, 'put'), { recursive: true });
  fs.chmodSync(scene.dir, 0o755);
  fs.writeFileSync(path.join(root, 'whole'), WHOLE);
  fs.writeFileSync(path.join(root, 'text.txt'), TEXT);
  const scratch = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`).join('\n');
  fs.writeFileSync(path.join(scene.dir, 'nginx.conf'), `
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  ${scratch}
  types { text/plain txt; }
  gzip on; gzip_types text/plain; gzip_proxied any; gzip_http_version 1.0; gzip_vary on;
  large_client_header_buffers 4 32k;
  server { listen 127.0.0.1:${port}; root files; client_max_body_size 0; location /put/ { dav_methods PUT DELETE; } }
}`);
  nginx = await start('nginx', ['-p', scene.dir, '-c', 'nginx.conf'], port);
  token = await scene.login('oAlice');
  const ca = ['--cacert', path.join(scene.dir, 'chain.pem')];
  ways = [
    ['HTTP/1.1', scene.baseUrl, ['--http1.1'], '1.1'],
    ['HTTP/1.0', scene.baseUrl, ['--http1.0'], '1'],
    ['HTTP/2 from the start', scene.baseUrl, ['--http2-prior-knowledge'], '2'],
    ['HTTP/2 by ALPN', scene.secureUrl, ['--http2', ...ca], '2'],
    ['HTTP/1.1 and TLS', scene.secureUrl, ['--http1.1', ...ca], '1.1'],
  ];
});

after(async () => {
  if (nginx) await stop(nginx);
  await scene?.stop();
});

// Runs curl and gives what it heard: the last head and the statuses before it, the body, and how it has ended.
function curl(origin, target, args, { input, bearer = token } = {}) {
  const head = path.join(scene.dir, 'head');
  const all = ['--silent', '--show-error', '--globoff', '--max-time', '30', '--dump-header', head,
    '--header', `Authorization: Bearer ${bearer}`, '--write-out', '%{stderr}%{http_code} %{http_version} %{num_connects}', ...args, `${origin}${target}`];
  const { status: exit, stdout, stderr, error } = spawnSync('curl', all, { input, maxBuffer: 1 << 26 });
  if (error) throw error;
  const said = stderr.toString();
  const [, status, version] = said.match(/(\d{3}) (\S+) \d+$/) ?? assert.fail(said);
  const heads = fs.readFileSync(head, 'utf8').trim().split('\r\n\r\n');
  const lines = heads.at(-1).split('\r\n').slice(1);
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  const interim = heads.slice(0, -1).map((text) => Number(text.split(' ')[1]));
  return { exit, status: Number(status), version, headers, interim, body: stdout, said };
}

// What of an answer must be the same whichever way it took.
function essence({ exit, status, headers, body }) {
  const told = COMPARED.map((name) => [name, headers[name]]).filter(([, value]) => value !== undefined);
  // The border between two ranges is made up for each answer.
  const named = told.map(([name, value]) => [name, value.replace(/boundary=\d+/, 'boundary')]);
  const length = body.length;
  const bytes = headers['content-type']?.includes('boundary') ? length : body.toString('base64');
  return { exit, status, headers: Object.fromEntries(named), bytes };
}

test('whatever curl asks of nginx, the answer is the same through the gateway', () => {
  // With it curl gives the head once more.
  const head = ['--head', '--output', '/dev/null'];
  for (const [target, args, status] of [
    ['/whole', [], 200],
    ['/whole', head, 200],
    ['/whole', ['--range', '0-99'], 206],
    ['/whole', ['--range', '-100'], 206],
    ['/whole', ['--range', `${WHOLE.length - 1}-`], 206],
    ['/whole', ['--range', '0-9,20-29'], 206],
    ['/whole', ['--range', `${WHOLE.length}-`], 416],
    ['/whole', ['--header', 'Range: bytes=5-1'], 416],
    ['/text.txt', ['--compressed'], 200],
    ['/text.txt', ['--header', 'Accept-Encoding: gzip'], 200],
    ['/text.txt', ['--compressed', ...head], 200],
    ['/text.txt', ['--time-cond', path.join(scene.dir, 'files/text.txt')], 304],
    ['/text.txt', ['--header', `X-Large: ${'x'.repeat(20_000)}`], 200],
    ['/missing', [], 404],
    ['/missing', ['--fail'], 404],
    ['/text.txt?a=b&c=%2e%2e/%00', [], 200],
    ['/text.txt', ['--request', 'POST', '--data', 'x=y'], 405],
    ['/text.txt', ['--request', 'OPTIONS'], 405],
  ]) {
    const expected = essence(curl(direct, target, args));
    assert.equal(expected.status, status, `${target} ${args}`);
    for (const [name, origin, how, version] of ways) {
      const heard = curl(origin, target, [...how, ...args]);
      assert.equal(heard.version, version, `${name} ${heard.said}`);
      assert.deepEqual(essence(heard), expected, `${name}: ${target} ${args}`);
    }
  }
});

test('a download that was broken off goes on where it was', () => {
  for (const [name, origin, how] of ways) {
    const file = path.join(scene.dir, 'partial');
    fs.writeFileSync(file, WHOLE.subarray(0, 123_456));
    const { exit, status } = curl(origin, '/whole', [...how, '--continue-at', '-', '--output', file]);
    assert.deepEqual([exit, status], [0, 206], name);
    assert.ok(fs.readFileSync(file).equals(WHOLE), name);
  }
});

test('an upload arrives whole, with a length or without, and whoever waits for 100 Continue hears it', () => {
  for (const [name, origin, how, version] of ways) {
    for (const [kind, args, input] of [
      ['sized', ['--upload-file', path.join(scene.dir, 'files/whole')]],
      // HTTP/1.0 has no body without a length, and curl says so itself.
      ...(name === 'HTTP/1.0' ? [] : [['streamed', ['--upload-file', '-'], WHOLE]]),
    ]) {
      // Over HTTP/2 nobody sends a 100, and HTTP/1.0 has none: there curl goes on by itself.
      const patience = version === '1.1' ? '25' : '0.01';
      const put = curl(origin, '/put/there', [...how, '--expect100-timeout', patience, '--header', 'Expect: 100-continue', ...args], { input });
      assert.deepEqual([put.exit, put.status], [0, 201], `${name} ${kind}: ${put.said}`);
      assert.deepEqual(put.interim, version === '1.1' ? [100] : [], `${name} ${kind}`);
      const back = curl(origin, '/put/there', how);
      assert.ok(back.body.equals(WHOLE), `${name} ${kind}`);
      assert.equal(curl(origin, '/put/there', [...how, '--request', 'DELETE']).status, 204);
    }
  }
});

test('what is too large, and what could be read in two ways, is refused in whatever version', () => {
  for (const [name, origin, how] of ways) {
    for (const [target, args, status] of [
      ['/text.txt', ['--header', `X-Large: ${'x'.repeat(40_000)}`], 431],
      [`/${'x'.repeat(9_000)}`, [], 414],
      ['/a/../text.txt', ['--path-as-is'], 400],
      ['/%2e%2e/text.txt', ['--path-as-is'], 400],
      ['/a%2f..%2ftext.txt', [], 400],
    ]) {
      const heard = curl(origin, target, [...how, ...args]);
      assert.equal(heard.status, status, `${name}: ${target} ${args} ${heard.said}`);
    }
    assert.equal(curl(origin, '/text.txt', how, { bearer: 'wxg_forged' }).status, 401, name);
    // These mean one thing only, and curl does not resolve them itself.
    for (const target of ['/./text.txt', '//text.txt', '/.//./text.txt', '/t%65xt.txt']) {
      const heard = curl(origin, target, [...how, '--path-as-is']);
      assert.deepEqual([heard.status, heard.body.toString()], [200, TEXT], `${name}: ${target}`);
    }
  }
});

test('several requests of one curl share a connection', () => {
  for (const [name, origin, how] of ways.filter(([name]) => name !== 'HTTP/1.0')) {
    const more = ['--output', '/dev/null', `${origin}/text.txt`, '--output', '/dev/null', `${origin}/whole`, '--output', '/dev/null'];
    const { said } = curl(origin, '/missing', [...how, ...more]);
    const connects = [...said.matchAll(/\d{3} \S+ (\d)/g)].map(([, connects]) => Number(connects));
    assert.equal(connects.reduce((sum, n) => sum + n, 0), 1, `${name}: ${said}`);
  }
});
