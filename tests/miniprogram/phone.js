// A phone with one WeChat user on it and the Mini Program open: its own globals, storage and connections.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const { createWx } = require('./wx');

const APP = path.join(__dirname, 'app');

// `baseUrl` is the gateway's address, `wechat` the stand-in's.
function openPhone({ appId, openid, unionid, baseUrl, wechat }) {
  const device = createWx({ appId, openid, unionid, wechat });
  const waits = [];
  const app = { globalData: { baseUrl, appId } };
  let definition = null;

  const context = vm.createContext({
    wx: device.wx,
    console,
    getApp: () => app,
    Page: (page) => {
      definition = page;
    },
    // A wait is written down and over at once: what is tested is how long the Mini Program means to wait.
    setTimeout: (callback, millis) => {
      waits.push(millis);
      setImmediate(callback);
    },
  });
  const load = loader(context);

  return {
    openid,
    wx: device.wx,
    app,
    waits,
    nextCode: device.nextCode,
    switchOff: device.switchOff,
    // wx.request as a promise, for requests that no page would make.
    request: (options) =>
      new Promise((resolve, reject) => {
        const url = app.globalData.baseUrl + options.path;
        device.wx.request({ ...options, url, success: resolve, fail: reject });
      }),
    // Opens a page as far as `Page({…})` goes; its onLoad is the test's to call.
    open(name) {
      load(path.join(APP, 'pages', `${name}.js`));
      const page = { ...definition, data: { ...definition.data } };
      page.setData = (patch) => void Object.assign(page.data, patch);
      // Objects made in another context have other prototypes, which strict comparisons would hold against them.
      page.shown = () => JSON.parse(JSON.stringify(page.data));
      return page;
    },
  };
}

// `require` as a Mini Program has it: files of the app by relative path, each run once.
function loader(context) {
  const modules = new Map();
  return function load(file) {
    if (!modules.has(file)) {
      const module = { exports: {} };
      modules.set(file, module);
      const source = `(function (require, module, exports) {${fs.readFileSync(file, 'utf8')}\n})`;
      const run = vm.runInContext(source, context, { filename: file });
      run((name) => load(path.resolve(path.dirname(file), `${name}.js`)), module, module.exports);
    }
    return modules.get(file).exports;
  };
}

module.exports = { openPhone };
