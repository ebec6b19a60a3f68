// What the files of stories about the client package have in common: one stack for all stories of a file, a backend in this
// process where they want one, and phones that are switched off after each story.

'use strict';

const { after, afterEach, before } = require('node:test');

const { openClient } = require('./client_phone');
const { startNodeBackend } = require('./node_backend');
const { startStack } = require('./stack');

const DEAD = `wxg_${'A'.repeat(44)}`;

// `users` is what the openids of this file begin with. `toml` makes the end of gateway.toml of a backend.
function openStories({ users, toml = null }) {
  const world = {};
  let phones = [];
  let count = 0;

  before(async () => {
    if (toml) world.backend = await startNodeBackend();
    world.stack = await startStack(toml ? { more: toml(world.backend) } : {});
  });

  after(async () => {
    await world.stack?.stop();
    await world.backend?.stop();
  });

  afterEach(async () => {
    phones.forEach((phone) => phone.switchOff());
    phones = [];
    await world.stack.clearFaults();
  });

  // A user nobody has seen before, so that no story hangs on another.
  function newPhone(more = {}) {
    const { appId, baseUrl, wechat } = world.stack;
    count += 1;
    const phone = openClient({ appId, openid: `${users}${count}`, baseUrl, wechat, ...more });
    phones.push(phone);
    return phone;
  }

  // The same phone, its Mini Program started again.
  const restarted = (phone) => newPhone({ openid: phone.openid, device: phone.device });

  function phoneWithDeadToken() {
    const phone = newPhone();
    phone.token = DEAD;
    return restarted(phone);
  }

  return { world, newPhone, restarted, phoneWithDeadToken };
}

module.exports = { DEAD, openStories };
