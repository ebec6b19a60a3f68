// Avatars by the client package, against the wxgate binary. How to run it: see the head of client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');

const { openClient } = require('./client_phone');
const { pngOf } = require('./picture');
const { startStack } = require('./stack');

const PUBLIC = 'https://api.example.com';

let stack;
let phones = [];
let users = 0;

before(async () => {
  stack = await startStack({ more: `\n[avatars]\npublic_url = "${PUBLIC}"\nsize = 64\n` });
});

after(() => stack?.stop());

afterEach(() => {
  phones.forEach((phone) => phone.switchOff());
  phones = [];
});

function newPhone() {
  users += 1;
  const phone = openClient({ appId: stack.appId, openid: `oAvatar${users}`, baseUrl: stack.baseUrl, wechat: stack.wechat });
  phones.push(phone);
  return phone;
}

function picture(name, colour) {
  const filePath = path.join(stack.dir, name);
  fs.writeFileSync(filePath, pngOf(200, 100, colour));
  return filePath;
}

// What everybody gets at the address that a profile names.
const look = (avatarUrl) => fetch(avatarUrl.replace(PUBLIC, stack.baseUrl));

test('a picture that was chosen is everybody\'s to see', async () => {
  const phone = newPhone();
  const { avatarUrl } = await phone.uploadAvatar(picture('one.png'));
  assert.match(avatarUrl, /^https:\/\/api\.example\.com\/v1\/avatars\/[0-9a-f]{64}\.jpg$/);
  assert.equal((await phone.getProfile()).avatarUrl, avatarUrl);
  const answer = await look(avatarUrl);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'image/jpeg');
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.deepEqual([...bytes.subarray(0, 2)], [0xff, 0xd8]);
});

test('another one takes its place, and a nickname leaves it', async () => {
  const phone = newPhone();
  const first = await phone.uploadAvatar(picture('two.png', [200, 0, 0]));
  const second = await phone.uploadAvatar(picture('three.png', [0, 0, 200]));
  assert.notEqual(first.avatarUrl, second.avatarUrl);
  const named = await phone.updateProfile({ nickName: '小明', avatarUrl: first.avatarUrl });
  assert.equal(named.avatarUrl, second.avatarUrl);
  while ((await look(first.avatarUrl)).status !== 404);
  assert.equal((await look(second.avatarUrl)).status, 200);
});

test('an upload logs in where that is needed, and tells how far it is', async () => {
  const phone = newPhone();
  await phone.login();
  await stack.logOut(phone.token);
  const heard = [];
  const task = phone.uploadAvatar(picture('four.png'));
  task.onProgressUpdate(({ progress }) => heard.push(progress));
  assert.ok((await task).avatarUrl);
  assert.equal(heard.at(-1), 100);
});
