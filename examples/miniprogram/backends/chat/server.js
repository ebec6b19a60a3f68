// A chat room over WebSocket. Who speaks says wxgate, in one header of the opening.
//
// Usage: node server.js [PORT]

'use strict';

const { WebSocketServer } = require('ws');

const room = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 3002),
  maxPayload: 4096,
});

room.on('connection', (socket, request) => {
  const openid = request.headers['x-wx-openid'];
  socket.on('error', () => socket.terminate());
  socket.on('message', (text, binary) => {
    if (binary) return;
    for (const other of room.clients) {
      if (other.readyState === other.OPEN) other.send(`${openid}: ${text}`);
    }
  });
});
