// The verifiers in examples/verify against tokens of the real wxgate, and against those of somebody who would like to be
// somebody else. Go and Java are asked where they are installed; at the end it is said which were not.
//
//   cargo build --release
//   python3 -m venv .venv && .venv/bin/pip install -r tests/miniprogram/requirements.txt -r examples/verify/python/requirements.txt
//   npm ci --prefix examples/verify/node
//   WXGATE_BIN=target/release/wxgate WXGATE_PYTHON=.venv/bin/python node --test tests/verifiers/samples.test.js

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, test } = require('node:test');

const { openPhone } = require('../miniprogram/phone');
const { startStack } = require('../miniprogram/stack');
const { ask, prepareSamples, showAll } = require('./samples');
const { forgeries, newKey, token } = require('./tokens');

const ISSUER = 'https://gate.example.com';
const AUDIENCE = 'app';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-verifiers-'));
const { samples, missing } = prepareSamples(dir);

console.log(`verifiers run: ${Object.keys(samples).join(', ')}`);

after(() => {
  fs.rmSync(dir, { recursive: true });
  for (const language of missing) console.log(`NOT RUN: the verifier in ${language}, which is not installed`);
});

function file(name, text) {
  const place = path.join(dir, name);
  fs.writeFileSync(place, text, { mode: 0o600 });
  return place;
}

// Asks every sample, and resolves with what each says.
async function askAll(presented, jwks, audience = AUDIENCE) {
  const asked = Object.entries(samples).map(async ([name, sample]) => [name, await ask(sample, presented, jwks, ISSUER, audience)]);
  return Object.fromEntries(await Promise.all(asked));
}

function withAssertion(key, other) {
  return `
[identity.assertion]
issuer = "${ISSUER}"
key = { file = "${file('key.pem', key.pem)}" }
other_keys = [{ file = "${file('other.pem', other.pem)}" }]
`;
}

for (const [alg, otherAlg] of [['EdDSA', 'ES256'], ['ES256', 'EdDSA']]) {
  test(`every sample believes what wxgate signs with ${alg}, for the right backend only`, async () => {
    const [key, other] = [newKey(alg), newKey(otherAlg)];
    const stack = await startStack({ more: withAssertion(key, other) });
    const phone = openPhone({ appId: stack.appId, openid: 'oAlice', baseUrl: stack.baseUrl, wechat: stack.wechat });
    try {
      await phone.open('orders').onLoad();
      const { data } = await phone.request({ path: '/identity', header: { Authorization: `Bearer ${phone.wx.getStorageSync('token')}` } });
      const signed = data.lines.find(([name]) => name.toLowerCase() === 'x-wx-assertion')[1];
      const jwks = `${stack.baseUrl}/.well-known/jwks.json`;
      const published = await (await fetch(jwks)).json();
      assert.deepEqual(published.keys.map((one) => one.kid), [key.kid, other.kid]);
      for (const [name, { claims }] of Object.entries(await askAll(signed, jwks))) {
        assert.deepEqual({ ...claims, iat: 0, exp: 0 }, { iss: ISSUER, aud: AUDIENCE, sub: 'oAlice', app: stack.appId, iat: 0, exp: 0 }, name);
      }
      for (const [name, said] of Object.entries(await askAll(signed, jwks, 'another'))) assert.ok(said.refused, name);
    } finally {
      phone.switchOff();
      await stack.stop();
    }
  });

  // ALBeast (2024): an issuer that is not compared, a token without an audience, and a key server that serves everybody.
  test(`no sample believes what only looks like signed with ${alg}`, async () => {
    const [key, other] = [newKey(alg), newKey(otherAlg)];
    const jwks = file(`jwks-${alg}.json`, JSON.stringify({ keys: [key.jwk, other.jwk] }));
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'oAlice', app: 'wx1', iat: now, exp: now + 120 };
    for (const [name, said] of Object.entries(await askAll(token(key, claims), jwks))) {
      assert.deepEqual(said.claims, claims, name);
    }
    for (const [forgery, [presented, why]] of Object.entries(forgeries(key, claims))) {
      for (const [name, said] of Object.entries(await askAll(presented, jwks))) {
        assert.match(said.refused ?? 'it believes it', why, `${forgery}, as the verifier in ${name} sees it`);
      }
    }
  });
}

test('a token whose key is published no more is believed no more', async () => {
  const [last, next] = [newKey('EdDSA'), newKey('ES256')];
  const now = Math.floor(Date.now() / 1000);
  const signed = token(last, { iss: ISSUER, aud: AUDIENCE, sub: 'oAlice', app: 'wx1', iat: now, exp: now + 120 });
  const both = file('both.json', JSON.stringify({ keys: [next.jwk, last.jwk] }));
  for (const [name, said] of Object.entries(await askAll(signed, both))) assert.ok(said.claims, name);
  const alone = file('alone.json', JSON.stringify({ keys: [next.jwk] }));
  for (const [name, said] of Object.entries(await askAll(signed, alone))) assert.ok(said.refused, name);
});

// The samples in Go and Java load the keys once, and say what to see to when they are loaded again.
test('strangers who make keys up do not have the keys fetched each time', async () => {
  const published = newKey('EdDSA');
  let fetched = 0;
  const server = http.createServer((_, answer) => {
    fetched += 1;
    answer.setHeader('Content-Type', 'application/json');
    answer.end(JSON.stringify({ keys: [published.jwk] }));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  try {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'oAlice', app: 'wx1', iat: now, exp: now + 120 };
    const made = Array.from({ length: 20 }, () => token(newKey('EdDSA'), claims));
    const jwks = `http://127.0.0.1:${server.address().port}/.well-known/jwks.json`;
    for (const [name, show] of Object.entries(showAll(made, jwks, ISSUER, AUDIENCE))) {
      fetched = 0;
      await show();
      assert.ok(fetched >= 1 && fetched <= 2, `the verifier in ${name} has fetched them ${fetched} times`);
    }
  } finally {
    server.close();
  }
});
