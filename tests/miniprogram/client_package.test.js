// The client package as it is handed out: its size, what is in it, what it needs of a phone, its types. It wants
// `npm ci --prefix miniprogram && npm run build --prefix miniprogram` before it.

'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { createRequire } = require('node:module');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const vm = require('node:vm');
const { gzipSync } = require('node:zlib');

const PACKAGE = path.join(__dirname, '../../miniprogram');
const LIMIT = 4096;

const { transformSync } = createRequire(path.join(PACKAGE, 'package.json'))('esbuild');
const code = fs.readFileSync(path.join(PACKAGE, 'miniprogram_dist/index.js'), 'utf8');

test('it is smaller than four kilobytes, minified and gzipped', () => {
  const minified = transformSync(code, { minify: true, format: 'cjs', target: 'es2015' }).code;
  const { length } = gzipSync(minified, { level: 9 });
  assert.ok(length < LIMIT, `${length} bytes of ${LIMIT}`);
});

test('it has no syntax younger than ES2015', () => {
  const plain = (options) => transformSync(code, { minifyWhitespace: true, charset: 'utf8', ...options }).code;
  assert.equal(plain({ target: 'es2015' }), plain({}));
});

test('it needs nothing that a phone has not', () => {
  // Whatever it asks for beyond the language and `wx` is missing here.
  const context = vm.createContext({ wx: { getStorageSync: () => '' } });
  const exported = {};
  vm.runInContext(`(function (exports) {${code}\n})`, context)(exported);
  assert.deepEqual(Object.keys(exported).sort(), ['WxgateError', 'createClient']);
  const client = exported.createClient({ baseUrl: 'https://api.example.com', appId: 'wx4f4bc4dec97d474b' });
  assert.deepEqual(Object.keys(client).sort(), [
    'connectSocket',
    'downloadFile',
    'getPhoneNumber',
    'getProfile',
    'login',
    'logout',
    'request',
    'updateProfile',
    'uploadAvatar',
    'uploadFile',
  ]);
  assert.doesNotMatch(code, /\b(fetch|URL|URLSearchParams|AbortController|TextDecoder|WebSocket|window|globalThis|process|require)\b\(?/);
});

test('it holds the built files, their types, two READMEs and the licenses', () => {
  // The scripts would build it, and build it again beside tests that read it.
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: PACKAGE, stdio: ['ignore', 'pipe', 'ignore'] }));
  assert.deepEqual(packed.files.map(({ path: name }) => name).sort(), [
    'LICENSE-APACHE',
    'LICENSE-MIT',
    'README.md',
    'README.zh-CN.md',
    'miniprogram_dist/call.d.ts',
    'miniprogram_dist/error.d.ts',
    'miniprogram_dist/index.d.ts',
    'miniprogram_dist/index.js',
    'miniprogram_dist/session.d.ts',
    'miniprogram_dist/socket.d.ts',
    'miniprogram_dist/task.d.ts',
    'package.json',
  ]);
});

test('it depends on nothing, and is found as a Mini Program finds packages', () => {
  const manifest = JSON.parse(fs.readFileSync(path.join(PACKAGE, 'package.json'), 'utf8'));
  assert.equal(manifest.dependencies, undefined);
  assert.ok(fs.existsSync(path.join(PACKAGE, manifest.miniprogram, 'index.js')));
  assert.ok(fs.existsSync(path.join(PACKAGE, manifest.main)));
  assert.ok(fs.existsSync(path.join(PACKAGE, manifest.types)));
});

test("its types hold in strict TypeScript, with WeChat's own", () => {
  execFileSync('npm', ['run', '--silent', 'check'], { cwd: PACKAGE, stdio: 'inherit' });
});
