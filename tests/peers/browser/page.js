// What a page does with its session: it logs in, opens WebSockets in both ways that a browser has, listens to events, reads
// an answer as it comes, logs out, and tells its backend what it has seen.

'use strict';

const { code, query } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const here = (path) => new URL(path, location.href).href;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

// The next of whatever an EventTarget has to say; whatever else it says is an error.
function next(target, type) {
  const controller = new AbortController();
  return new Promise((resolve, reject) => {
    for (const other of ['open', 'message', 'error', 'close']) {
      const heard = (event) => {
        controller.abort();
        if (type === other) resolve(event);
        else reject(new Error(`${other} (${event.code}) instead of ${type}`));
      };
      target.addEventListener(other, heard, { signal: controller.signal });
    }
  });
}

async function echo(socket, openid) {
  socket.send('hello 你好');
  check((await next(socket, 'message')).data === `${openid}: hello 你好`, 'a text comes back');
  const bytes = Uint8Array.from({ length: 100_000 }, (_, n) => n % 251);
  socket.binaryType = 'arraybuffer';
  socket.send(bytes);
  const back = new Uint8Array((await next(socket, 'message')).data);
  check(back.length === bytes.length && back.every((byte, n) => byte === bytes[n]), 'bytes come back');
}

async function run() {
  const json = (path, body, headers = {}) => fetch(here(path), { method: 'POST', body: JSON.stringify(body), headers });
  const login = await (await json('/v1/verify', { jsCode: code })).json();
  const { token } = login;
  check(/^wxg_/.test(token), `a token in ${JSON.stringify(login)}`);
  const headers = { Authorization: `Bearer ${token}` };
  const { openid } = await (await fetch(here('/own/me'), { headers })).json();

  const chat = new WebSocket(here('/chat/sub').replace('http', 'ws'), ['wxgate', token, 'v2.chat']);
  await next(chat, 'open');
  check(chat.protocol === 'v2.chat', `it speaks ${chat.protocol}`);
  await echo(chat, openid);
  const other = new WebSocket(`${here('/query/chat').replace('http', 'ws')}?${query}=${token}`);
  await next(other, 'open');
  await echo(other, openid);
  const stranger = new WebSocket(here('/chat/sub').replace('http', 'ws'), ['wxgate']);
  await next(stranger, 'error');

  // The backend sends each only when it has heard of the one before.
  const events = new EventSource(`${here('/query/events')}?${query}=${token}`);
  await next(events, 'open');
  let event = next(events, 'message');
  for (let n = 0; n < 3; n += 1) {
    const { data, lastEventId } = await event;
    check(data === `event ${n} for ${openid}` && lastEventId === String(n), `event ${n} and not ${data}`);
    // It may come before the answer to this.
    if (n < 2) event = next(events, 'message');
    await json('/own/heard', { stream: 'events' }, headers);
  }
  events.close();

  const reader = (await fetch(here('/own/stream'), { headers })).body.getReader();
  let text = '';
  for (let n = 0; n < 3; n += 1) {
    text += new TextDecoder().decode((await reader.read()).value);
    check(text.endsWith(`piece ${n}\n`), `piece ${n} in ${text}`);
    await json('/own/heard', { stream: 'stream' }, headers);
  }
  check((await reader.read()).done, 'the end of the answer');

  const closed = [chat, other].map((socket) => next(socket, 'close'));
  check((await json('/v1/logout', {}, headers)).status === 204, 'a log-out');
  const codes = (await Promise.all(closed)).map((event) => [event.code, event.wasClean]);
  check((await fetch(here('/own/me'), { headers })).status === 401, 'the session is over');
  const [me] = performance.getEntriesByName(here('/own/me'));
  return { openid, codes, over: me.nextHopProtocol };
}

run()
  .catch((error) => ({ error: String(error.stack) }))
  .then((report) => fetch(here('/page/report'), { method: 'POST', body: JSON.stringify(report) }));
