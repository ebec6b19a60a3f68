// The part of the `wx` object that a Mini Program talks to the network with, over real sockets.
//
// As on a phone: any status reaches `success`, only a transport failure reaches `fail`; header names are sent and shown
// as they were written; `Referer` can't be set; at most ten requests run at once; cookies are not kept. Unlike a phone it
// does not follow redirects.

'use strict';

const http = require('node:http');
const fs = require('node:fs');
const path = require('node:path');

const WebSocket = require('ws');

const DEFAULT_TIMEOUT = 60_000;

// `wechat` is the stand-in's address; its control endpoint is what the WeChat app is on a real phone.
function createWx({ appId, openid, unionid, wechat }) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
  const storage = new Map();
  const codes = [];
  const sockets = new Set();

  const wx = {
    login({ success, fail, complete } = {}) {
      const code = codes.shift();
      const made = code ? Promise.resolve(code) : makeCode({ appId, openid, unionid, wechat });
      made.then((code) => ({ errMsg: 'login:ok', code })).then(
        (result) => finish(result, success, complete),
        (error) => finish({ errMsg: `login:fail ${error.message}` }, fail, complete),
      );
    },

    request({ url, method = 'GET', data, header = {}, dataType = 'json', responseType = 'text', timeout, success, fail, complete }) {
      const headers = withDefault(header, 'content-type', 'application/json');
      const { target, body } = encode(url, method, data, headers);
      return send({ kind: 'request', target, method, headers, body, timeout }, fail, complete, (answer) => {
        const decoded = responseType === 'arraybuffer' ? answer.body : parse(answer.body.toString(), dataType);
        finish({ errMsg: 'request:ok', data: decoded, ...answer.head }, success, complete);
      });
    },

    uploadFile({ url, filePath, name, header = {}, formData = {}, timeout, success, fail, complete }) {
      const boundary = `----wx${Math.random().toString(36).slice(2)}`;
      const headers = { ...header, 'content-type': `multipart/form-data; boundary=${boundary}` };
      const body = multipart(boundary, name, filePath, formData);
      return send({ kind: 'uploadFile', target: url, method: 'POST', headers, body, timeout }, fail, complete, (answer) => {
        finish({ errMsg: 'uploadFile:ok', data: answer.body.toString(), ...answer.head }, success, complete);
      });
    },

    // A SocketTask, as far as a Mini Program needs it. That it could not be opened is told by onError and onClose.
    connectSocket({ url, header = {}, protocols = [], timeout, success, complete }) {
      const headers = { ...header, Referer: `https://servicewechat.com/${appId}/0/page-frame.html` };
      const socket = new WebSocket(url, protocols, { headers, handshakeTimeout: timeout ?? DEFAULT_TIMEOUT });
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // An error without anybody who listens would end the phone.
      socket.on('error', () => {});
      setImmediate(() => finish({ errMsg: 'connectSocket:ok' }, success, complete));
      return {
        send: ({ data }) => socket.send(data),
        close: ({ code = 1000, reason = '' } = {}) => socket.close(code, reason),
        onOpen: (callback) => socket.on('open', () => callback({ protocol: socket.protocol })),
        onMessage: (callback) => socket.on('message', (data, binary) => callback({ data: binary ? data : data.toString() })),
        onClose: (callback) => socket.on('close', (code, reason) => callback({ code, reason: reason.toString() })),
        onError: (callback) => socket.on('error', ({ message }) => callback({ errMsg: message })),
      };
    },

    getStorageSync: (key) => storage.get(key) ?? '',
    setStorageSync: (key, value) => void storage.set(key, value),
    removeStorageSync: (key) => void storage.delete(key),
  };

  function send({ kind, target, method, headers, body, timeout = DEFAULT_TIMEOUT }, fail, complete, succeed) {
    const url = new URL(target);
    const request = http.request({
      agent,
      host: url.hostname,
      port: url.port,
      path: url.pathname + url.search,
      method,
      timeout,
      headers: wireHeaders(url, method, headers, body, appId),
    });
    const failed = (error) => finish({ errMsg: `${kind}:fail ${error.message}` }, fail, complete);
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', failed);
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', failed);
      response.on('end', () => succeed({ head: headOf(response), body: Buffer.concat(chunks) }));
    });
    request.end(body);
    return { abort: () => request.destroy(new Error('abort')) };
  }

  return {
    wx,
    // The next wx.login gives this code instead of a fresh one.
    nextCode: (code) => void codes.push(code),
    switchOff: () => {
      agent.destroy();
      sockets.forEach((socket) => socket.terminate());
    },
  };
}

// One call to a control endpoint of the stand-in, or to any other URL that speaks JSON.
function postJson(url, value) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify(value);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const request = http.request(url, { method: 'POST', headers, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode >= 300) return reject(new Error(`${response.statusCode} from ${url}: ${text}`));
        return resolve(text === '' ? null : JSON.parse(text));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function makeCode({ appId, openid, unionid, wechat }) {
  const { code } = await postJson(`${wechat}/_sim/codes`, { appId, openid, unionid });
  return code;
}

function finish(result, callback, complete) {
  callback?.(result);
  complete?.(result);
}

function withDefault(header, name, value) {
  const given = Object.keys(header).some((key) => key.toLowerCase() === name);
  return given ? { ...header } : { ...header, [name]: value };
}

// Data goes into the query of a GET and into the body of anything else.
function encode(url, method, data, headers) {
  if (data === undefined || data === null) return { target: url, body: undefined };
  if (data instanceof ArrayBuffer) return { target: url, body: Buffer.from(data) };
  if (typeof data === 'string') return { target: url, body: Buffer.from(data) };
  if (method === 'GET') {
    const target = new URL(url);
    for (const [name, value] of Object.entries(data)) target.searchParams.append(name, value);
    return { target: target.href, body: undefined };
  }
  const type = headers[Object.keys(headers).find((key) => key.toLowerCase() === 'content-type')];
  const form = type.startsWith('application/x-www-form-urlencoded');
  return { target: url, body: Buffer.from(form ? new URLSearchParams(data).toString() : JSON.stringify(data)) };
}

// A flat list, because an object would let node merge `X-Id` and `x-id` where a phone sends both.
function wireHeaders(url, method, headers, body, appId) {
  const list = ['Host', url.host, 'Referer', `https://servicewechat.com/${appId}/0/page-frame.html`];
  for (const [name, value] of Object.entries(headers)) {
    if (name.toLowerCase() !== 'referer') list.push(name, String(value));
  }
  if (body !== undefined) list.push('Content-Length', String(body.length));
  else if (method !== 'GET' && method !== 'HEAD') list.push('Content-Length', '0');
  return list;
}

function headOf(response) {
  const header = {};
  for (let i = 0; i < response.rawHeaders.length; i += 2) header[response.rawHeaders[i]] = response.rawHeaders[i + 1];
  return { statusCode: response.statusCode, header, cookies: response.headers['set-cookie'] ?? [] };
}

function parse(text, dataType) {
  if (dataType !== 'json') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function multipart(boundary, name, filePath, formData) {
  const fields = Object.entries(formData).map(
    ([field, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`,
  );
  const file =
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${path.basename(filePath)}"\r\n` +
    'Content-Type: application/octet-stream\r\n\r\n';
  return Buffer.concat([
    Buffer.from(fields.join('') + file),
    fs.readFileSync(filePath),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}

module.exports = { createWx, postJson };
