// A gateway and WeChat's stand-in, each a process of its own, before a server that somebody else has written.

'use strict';

const { execFileSync } = require('node:child_process');
const { createHash, X509Certificate } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const { freePorts, start, stop } = require('../miniprogram/stack');
const { postJson } = require('../miniprogram/wx');

const APP_ID = 'wx4f4bc4dec97d474b';
const SECRET = 'the secret of a Mini Program that does not exist';

// `toml` is the part of gateway.toml that a test is about. HTTP/2 is spoken in the clear too, to who begins with it.
async function startScene({ toml }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-peers-'));
  const [wechatPort, port, securePort, adminPort] = await freePorts(4);
  const key = certificate(dir);
  const config = path.join(dir, 'gateway.toml');
  fs.writeFileSync(config, `
[server]
listen = ["127.0.0.1:${securePort}"]
workers = 2
drain_idle = "0s"   # clients here keep connections, and nobody comes after a stop
[server.http2]
prior_knowledge = true
[server.tls]
cert = "chain.pem"
key = "key.pem"
[[server.listeners]]
listen = "127.0.0.1:${port}"
[admin]
listen = "127.0.0.1:${adminPort}"
[limits]
verify_per_ip = "1000/min"
[[apps]]
app_id = "${APP_ID}"
secret = { env = "WX_APP_SECRET" }
api_base = "http://127.0.0.1:${wechatPort}"
${toml}`);
  const wxgate = process.env.WXGATE_BIN;
  if (!wxgate) throw new Error('set WXGATE_BIN: see the head of the test');
  const running = [];
  try {
    running.push(await start(wxgate, ['simulate', '--listen', `127.0.0.1:${wechatPort}`, '--app', `${APP_ID}=${SECRET}`], wechatPort));
    running.push(await start(wxgate, ['--config', config], port, { WX_APP_SECRET: SECRET }));
  } catch (error) {
    await Promise.all(running.map(stop));
    throw error;
  }
  const baseUrl = `http://127.0.0.1:${port}`;
  const makeCode = async (openid) => (await postJson(`http://127.0.0.1:${wechatPort}/_sim/codes`, { appId: APP_ID, openid })).code;

  return {
    dir,
    baseUrl,
    secureUrl: `https://localhost:${securePort}`,
    // By what a browser is told of the key of `secureUrl`.
    key,
    // What `wx.login` does on some phone.
    makeCode,
    // The token of somebody who has logged in.
    async login(openid) {
      const body = JSON.stringify({ jsCode: await makeCode(openid) });
      return (await (await fetch(`${baseUrl}/v1/verify`, { method: 'POST', body })).json()).token;
    },
    async stop() {
      await Promise.all(running.map(stop));
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

// A key and a certificate of its own for localhost, in this folder. Gives what browsers know the key by.
function certificate(dir) {
  const [cert, key] = ['chain.pem', 'key.pem'].map((name) => path.join(dir, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const spki = new X509Certificate(fs.readFileSync(cert)).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64');
}

// One request, with its answer's head at once and its body as it comes. `send` is called with the request, to write its body.
function ask(url, { method = 'GET', headers = {}, send = (request) => request.end() } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers });
    request.on('error', reject);
    request.on('response', resolve);
    send(request);
  });
}

module.exports = { ask, startScene };
