// The example's Mini Program in a simulator: its pages rendered from their own WXML, with events as a finger makes them.
//
// j-component is what WeChat's miniprogram-simulate renders components with. It wants a document, and pages are components here.

'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { JSDOM } = require('jsdom');

const APP = path.join(__dirname, '../../examples/miniprogram/app');
const PACKAGE = path.join(__dirname, '../../miniprogram/miniprogram_dist/index.js');

// It looks for a browser when it is loaded, and node has a navigator of its own from 21 on.
const { window } = new JSDOM('<!doctype html><body></body>', { pretendToBeVisual: true });
for (const name of ['window', 'document', 'Event', 'CustomEvent', 'HTMLElement', 'Node', 'requestAnimationFrame']) {
  global[name] = name === 'window' ? window : window[name];
}
const simulator = require('j-component');

// What it does not take for HTML are components, also those that WeChat brings along.
for (const name of ['view', 'image']) simulator.register({ id: name, tagName: `wx-${name}`, template: '<slot/>' });

// Installs the Mini Program as its README says, set up for this gateway, and opens it on a phone with this `wx`.
function openApp(config, wx) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-example-'));
  fs.cpSync(APP, dir, { recursive: true });
  fs.mkdirSync(path.join(dir, 'utils'), { recursive: true });
  fs.copyFileSync(PACKAGE, path.join(dir, 'utils/wxgate.js'));
  fs.writeFileSync(path.join(dir, 'config.js'), `module.exports = ${JSON.stringify(config)};`);
  const pages = [];
  global.wx = wx;

  return {
    // What the Mini Program uses, for the test to look into.
    client: () => require(path.join(dir, 'services/client.js')),
    open(name) {
      const file = path.join(dir, 'pages', name, name);
      const page = show(file);
      pages.push(page);
      return page;
    },
    close() {
      pages.forEach((page) => page.close());
      fs.rmSync(dir, { recursive: true });
    },
  };
}

function show(file) {
  let id;
  global.Component = (definition) => {
    id = simulator.register({ ...definition, template: fs.readFileSync(`${file}.wxml`, 'utf8') });
  };
  require(`${file}.js`);
  const component = simulator.create(id);
  const parent = window.document.createElement('div');
  component.attach(parent);

  return {
    // Resolves once this is true of what the page shows.
    shows: (wanted) => until(() => wanted(component.data), () => JSON.stringify(component.data)),
    text: (selector) => component.querySelectorAll(selector).map(({ dom }) => dom.textContent),
    tap: (selector) => component.querySelector(selector).dispatchEvent('tap'),
    // What WeChat tells of a button, a form or a field.
    tell: (selector, event, detail) => component.querySelector(selector).dispatchEvent(event, { detail, bubbles: true }),
    close: () => component.detach(),
  };
}

async function until(wanted, told) {
  const deadline = Date.now() + 20_000;
  while (!wanted()) {
    if (Date.now() > deadline) throw new Error(`it shows ${told()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

module.exports = { openApp };
