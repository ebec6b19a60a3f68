// Everything that stands behind a phone, each as a process of its own: the stand-in of WeChat, a Flask backend, wxgate.

'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const { postJson } = require('./wx');

const APP_ID = 'wx4f4bc4dec97d474b';
const APP_SECRET = 'the secret of a Mini Program that does not exist';
const START_LIMIT = 20_000;
const STOP_LIMIT = 10_000;

// Starts all three and resolves once each accepts connections. `more` goes to the end of gateway.toml, `server` into its
// section, and without `root` the paths that no route names lead nowhere.
async function startStack({ more = '', server = '', root = true } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-miniprogram-'));
  const [wechatPort, backendPort, gatewayPort, adminPort] = await freePorts(4);
  const ports = { wechatPort, backendPort, gatewayPort, adminPort, server, root };
  const config = path.join(dir, 'gateway.toml');
  fs.writeFileSync(config, gatewayToml(ports) + more);

  const wxgate = fromEnv('WXGATE_BIN');
  const python = fromEnv('WXGATE_PYTHON');
  const simulate = ['simulate', '--listen', `127.0.0.1:${wechatPort}`, '--app', `${APP_ID}=${APP_SECRET}`];
  const startGateway = () => start(wxgate, ['--config', config], gatewayPort, { WX_APP_SECRET: APP_SECRET });

  const running = [];
  let gateway;
  try {
    running.push(await start(wxgate, simulate, wechatPort));
    running.push(await start(python, [path.join(__dirname, 'backend.py'), String(backendPort)], backendPort));
    gateway = await startGateway();
  } catch (error) {
    await Promise.all(running.map(stop));
    throw error;
  }

  const wechat = `http://127.0.0.1:${wechatPort}`;
  const base = `http://127.0.0.1:${gatewayPort}`;
  return {
    appId: APP_ID,
    baseUrl: base,
    wechat,
    dir,
    // Spoils the next exchanges; see src/simulator/control.rs for the words.
    orderFault: (fault) => postJson(`${wechat}/_sim/faults`, fault),
    clearFaults: () => fetch(`${wechat}/_sim/faults`, { method: 'DELETE' }),
    // How many codes were exchanged so far, well or not.
    async exchanges() {
      const { endpoints } = await (await fetch(`${wechat}/_sim/calls`)).json();
      return endpoints['/sns/jscode2session'] ?? 0;
    },
    // What `wx.login` does on some phone.
    makeCode: async (openid) => (await postJson(`${wechat}/_sim/codes`, { appId: APP_ID, openid })).code,
    // An exchange that somebody else makes with the same AppSecret.
    async spend(code) {
      const query = new URLSearchParams({ appid: APP_ID, secret: APP_SECRET, js_code: code, grant_type: 'authorization_code' });
      return (await fetch(`${wechat}/sns/jscode2session?${query}`)).json();
    },
    // What the gateway says of a token, whoever holds it.
    session: (token) => fetch(`${base}/v1/session`, { headers: { authorization: `Bearer ${token}` } }),
    // Ends its session behind its holder's back.
    logOut: (token) => fetch(`${base}/v1/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } }),
    stopGateway: () => stop(gateway),
    async restartGateway() {
      gateway = await startGateway();
    },
    async stop() {
      await Promise.all([gateway, ...running].map(stop));
      fs.rmSync(dir, { recursive: true });
    },
  };
}

function gatewayToml({ wechatPort, backendPort, gatewayPort, adminPort, server, root }) {
  return `
[server]
listen = ["127.0.0.1:${gatewayPort}"]
workers = 2
${server}

[admin]
listen = "127.0.0.1:${adminPort}"

[[apps]]
app_id = "${APP_ID}"
secret = { env = "WX_APP_SECRET" }
api_base = "http://127.0.0.1:${wechatPort}"

[limits]
verify_per_ip = "100000/min"   # every phone of the test has the same address

[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:${backendPort}"]

[[routes]]
path = "/public/"
auth = "optional"
upstream = "app"

[[routes]]
path = "/open/"
auth = "none"
upstream = "app"

[[routes]]
path = "${root ? '/' : '/orders'}"
upstream = "app"
`;
}

async function start(command, args, port, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = [];
  child.stdout.on('data', (chunk) => said.push(chunk));
  child.stderr.on('data', (chunk) => said.push(chunk));
  const ended = new Promise((_, reject) => {
    const fail = (why) => reject(new Error(`${path.basename(command)} ${args[0]} ${why}\n${Buffer.concat(said)}`));
    child.on('error', (error) => fail(`did not start: ${error.message}`));
    child.on('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
  });
  // It ends when it is stopped; only before that is it news.
  ended.catch(() => {});
  await Promise.race([ended, accepts(port)]);
  return child;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT);
  child.kill('SIGTERM');
  await exit;
  clearTimeout(kill);
}

// Resolves once somebody listens.
async function accepts(port) {
  const deadline = Date.now() + START_LIMIT;
  while (!(await connects(port))) {
    if (Date.now() > deadline) throw new Error(`nobody listens on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function connects(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => resolve(false));
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

// All are held until the last is found, so that none is found twice.
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function fromEnv(name) {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}: see the head of tests/miniprogram/orders.test.js`);
  return value;
}

module.exports = { accepts, freePorts, start, startStack, stop };
