// A backend in this process: each test says what it answers. It also speaks WebSocket.

'use strict';

const { once } = require('node:events');
const http = require('node:http');

const { WebSocketServer } = require('ws');

async function startNodeBackend() {
  let answer = (request, response) => response.end('{}');
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => answer(Object.assign(request, { body: Buffer.concat(chunks) }), response));
  });
  const chat = new WebSocketServer({ server });
  chat.on('connection', (socket, request) => {
    socket.openid = request.headers['x-wx-openid'];
    socket.on('error', () => {});
    socket.on('message', (data, binary) => socket.send(binary ? data : `${socket.openid}: ${data}`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();

  return {
    port,
    toml: (name, more = '') => `
[[upstreams]]
name = "${name}"
servers = ["http://127.0.0.1:${port}"]
${more}`,
    // From now on: a function of node's request, with its body, and response.
    answers: (how) => void (answer = how),
    // Those of the WebSockets that are open.
    sockets: () => [...chat.clients],
    chat,
    async stop() {
      chat.clients.forEach((socket) => socket.terminate());
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// Sends an answer of JSON.
function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

module.exports = { startNodeBackend, json };
