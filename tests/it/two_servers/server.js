// A backend in Node's own HTTP. Each whole request that it hears is a line of JSON, and so is what it can't read.
'use strict';

const fs = require('node:fs');
const http = require('node:http');

// Before the answer leaves: whoever has the answer finds the line written.
const tell = (line) => fs.writeSync(1, `${JSON.stringify(line)}\n`);

const utf8 = (text) => Buffer.from(text, 'latin1').toString();

// Where a target leads a backend that asks the platform: resolved as a URL, and decoded once.
function placeOf(target) {
  const path = new URL(target, 'http://backend').pathname;
  return utf8(path.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16))));
}

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const lines = request.rawHeaders.concat(request.rawTrailers).map(utf8);
    const headers = lines.flatMap((name, at) => (at % 2 ? [] : [[name, lines[at + 1]]]));
    const body = Buffer.concat(pieces).toString();
    tell({ method: request.method, target: request.url, place: placeOf(request.url), headers, body });
    response.end('ok');
  });
});

const strange = (what) => (request, socket) => {
  tell({ method: what, target: request.url, place: '', headers: [], body: '' });
  socket.destroy();
};
server.on('connect', strange('a CONNECT'));
server.on('upgrade', strange('an upgrade'));
server.on('clientError', (error, socket) => {
  // A request that breaks off is none.
  if (error.code?.startsWith('HPE_') && error.code !== 'HPE_INVALID_EOF_STATE') strange(error.code)({ url: '' }, socket);
  socket.destroy();
});

server.listen(process.argv[1]);
