// Orders, in Node. Whose they are says wxgate, in one header.
//
// Usage: node server.js [PORT]

'use strict';

const http = require('node:http');

const LIMIT = 10_000;

const orders = new Map();

const server = http.createServer(async (request, response) => {
  const openid = request.headers['x-wx-openid'];
  const own = orders.get(openid) ?? [];
  if (request.url !== '/orders') return answer(response, 404, { error: 'There is nothing here.' });
  if (request.method === 'GET') return answer(response, 200, { openid, orders: own });
  if (request.method !== 'POST') return answer(response, 405, { error: 'Orders are read and made.' });

  const item = await itemOf(request);
  if (typeof item !== 'string' || item.length < 1 || item.length > 100) {
    return answer(response, 422, { error: 'An order is of 1 to 100 characters.' });
  }
  orders.set(openid, [...own, item]);
  return answer(response, 200, { openid, orders: orders.get(openid) });
});

async function itemOf(request) {
  let body = '';
  try {
    for await (const chunk of request) {
      body += chunk;
      if (body.length > LIMIT) return undefined;
    }
    return JSON.parse(body).item;
  } catch {
    return undefined;
  }
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

server.listen(Number(process.argv[2] ?? 3001), '127.0.0.1');
