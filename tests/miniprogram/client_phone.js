// A phone whose Mini Program uses the client package, as it was built into miniprogram/miniprogram_dist.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const { createWx } = require('./wx');

// Milliseconds, after which what has not come does not come any more.
const PATIENCE = 20_000;
const PACKAGE = path.join(__dirname, '../../miniprogram/miniprogram_dist/index.js');

// `device` may be one of another phone: then this is the same phone after a restart of the Mini Program.
function openClient({ appId, openid, baseUrl, wechat, device = createWx({ appId, openid, wechat }), ...options }) {
  const waits = [];
  const sent = [];
  let on = true;
  const clock = { ahead: 0 };
  const wx = watched(device.wx, sent);
  const context = vm.createContext({
    wx,
    console,
    // A wait is written down and over at once: what is tested is how long the client means to wait.
    setTimeout: (callback, millis) => {
      waits.push(millis);
      return setImmediate(() => on && callback());
    },
    clearTimeout: clearImmediate,
    Date: { now: () => Date.now() + clock.ahead },
  });
  const { createClient, WxgateError } = load(context);

  return {
    ...createClient({ baseUrl, appId, ...options }),
    createClient,
    WxgateError,
    wx,
    device,
    openid,
    // How long the client meant to wait each time, in milliseconds.
    waits,
    // What it sent, in order: the name of the call of wx and its options.
    sent,
    sentTo: (end) => sent.filter(({ url }) => url?.endsWith(end)).length,
    // Time that has passed for the Mini Program and for nobody else.
    pass: (millis) => void (clock.ahead += millis),
    storageKey: `wxgate:${appId}@${baseUrl}`,
    get token() {
      return wx.getStorageSync(`wxgate:${appId}@${baseUrl}`);
    },
    set token(token) {
      wx.setStorageSync(`wxgate:${appId}@${baseUrl}`, token);
    },
    nextCode: device.nextCode,
    switchOff() {
      // Else a WebSocket whose story failed would come back for ever.
      on = false;
      device.switchOff();
    },
  };
}

function load(context) {
  const module = { exports: {} };
  const source = `(function (module, exports) {${fs.readFileSync(PACKAGE, 'utf8')}\n})`;
  vm.runInContext(source, context, { filename: PACKAGE })(module, module.exports);
  return module.exports;
}

function watched(wx, sent) {
  const watched = { ...wx };
  for (const name of ['login', 'request', 'uploadFile', 'downloadFile', 'connectSocket']) {
    watched[name] = (options = {}) => {
      sent.push({ name, ...options });
      return wx[name](options);
    };
  }
  return watched;
}

// The failure of a promise; it is an error if there is none.
function failure(promise) {
  return Promise.resolve(promise).then(
    (result) => {
      throw new Error(`it succeeded with ${JSON.stringify(result)}`);
    },
    (error) => error,
  );
}

// Resolves with what a function that takes a listener calls it with first.
function heard(on) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`nothing came to ${on.name}`)), PATIENCE);
    on((event) => {
      clearTimeout(limit);
      resolve(event);
    });
  });
}

module.exports = { openClient, failure, heard };
