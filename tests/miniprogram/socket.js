// `wx.connectSocket` over a real WebSocket.
//
// As on most phones, nothing tells why an opening was refused: there is an error without the status, and a close after it.

'use strict';

const WebSocket = require('ws');

// `sockets` is where those are kept that are open.
function connectSocket({ url, header = {}, protocols = [], appId, sockets, success, fail, complete }) {
  const headers = { ...header, Referer: `https://servicewechat.com/${appId}/0/page-frame.html` };
  const socket = new WebSocket(url, protocols, { headers, perMessageDeflate: false });
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => {});
  const result = { errMsg: 'connectSocket:ok', socketTaskId: 1 };
  queueMicrotask(() => {
    success?.(result);
    complete?.(result);
  });

  return {
    onOpen(listener) {
      let head = {};
      socket.on('upgrade', (response) => (head = response.headers));
      socket.on('open', () => listener({ header: head }));
    },
    onMessage: (listener) => socket.on('message', (data, binary) => listener({ data: binary ? arrayBuffer(data) : data.toString() })),
    onError: (listener) => socket.on('error', () => listener({ errMsg: 'connectSocket:fail' })),
    onClose: (listener) => socket.on('close', (code, reason) => listener({ code, reason: reason.toString() })),
    send({ data, success: sent, fail: failed, complete: done }) {
      socket.send(data, (error) => {
        const errMsg = error ? `sendSocketMessage:fail ${error.message}` : 'sendSocketMessage:ok';
        (error ? failed : sent)?.({ errMsg });
        done?.({ errMsg });
      });
    },
    close: ({ code = 1000, reason = '' } = {}) => (socket.readyState === WebSocket.CONNECTING ? socket.terminate() : socket.close(code, reason)),
  };
}

function arrayBuffer(data) {
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

module.exports = { connectSocket };
