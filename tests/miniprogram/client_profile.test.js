// Profiles by the client package, against the wxgate binary and the stand-in of WeChat. How to run it: see the head of
// client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { failure } = require('./client_phone');
const { openStories } = require('./client_stories');
const { postJson } = require('./wx');

const { world, newPhone } = openStories({ users: 'oProfile' });

// What `wx.getUserInfo` gave when it still told the truth: signed and encrypted with the key of the user's newest login.
function userInfoOf(phone, userInfo) {
  return postJson(`${world.stack.wechat}/_sim/user_data`, { appId: world.stack.appId, openid: phone.openid, userInfo });
}

// A login that wxgate does not hear of. It makes another session_key.
async function logInElsewhere(phone) {
  await world.stack.spend(await world.stack.makeCode(phone.openid));
}

test('a nickname is sent and read back, and null removes it', async () => {
  const phone = newPhone();
  assert.equal((await phone.getProfile()).version, 0);
  const changed = await phone.updateProfile({ nickName: '小明' });
  assert.equal(changed.nickName, '小明');
  assert.equal(changed.fields.nickName.source, 'client');
  assert.equal((await phone.getProfile()).nickName, '小明');
  assert.equal((await phone.updateProfile({ nickName: null })).nickName, undefined);
});

test('a change of another version than there is says so', async () => {
  const phone = newPhone();
  const { version } = await phone.updateProfile({ nickName: 'Band' });
  const header = { 'If-Match': `"${version}"` };
  await phone.updateProfile({ city: 'Guangzhou' }, { header });
  const error = await failure(phone.updateProfile({ city: 'Shenzhen' }, { header }));
  assert.equal(error.code, 'profile_changed');
  assert.equal(error.statusCode, 412);
});

test('what WeChat vouches for is marked as such', async () => {
  const phone = newPhone();
  const signed = await phone.updateProfile(async () => {
    const { rawData, signature } = await userInfoOf(phone, { nickName: 'Band' });
    return { rawData, signature };
  });
  assert.equal(signed.fields.nickName.source, 'signed');
  const decrypted = await phone.updateProfile(async () => {
    const { encryptedData, iv } = await userInfoOf(phone, { city: 'Guangzhou' });
    return { encryptedData, iv };
  });
  assert.equal(decrypted.fields.city.source, 'decrypted');
});

test('a stale session_key makes one login, and the data is got anew', async () => {
  const phone = newPhone();
  await phone.login();
  await logInElsewhere(phone);
  const { token } = phone;
  const { nickName } = await phone.updateProfile(() => userInfoOf(phone, { nickName: 'Band' }));
  assert.equal(nickName, 'Band');
  assert.notEqual(phone.token, token);
  assert.equal(phone.sentTo('/v1/verify'), 2);
  assert.equal(phone.sentTo('/v1/profile'), 2);
});

test('data that can not be got anew is told of after one login', async () => {
  const phone = newPhone();
  await phone.login();
  await logInElsewhere(phone);
  const data = await userInfoOf(phone, { nickName: 'Band' });
  const error = await failure(phone.updateProfile(data));
  assert.equal(error.code, 'session_key_stale');
  assert.equal(error.statusCode, 409);
  assert.equal(phone.sentTo('/v1/verify'), 2);
  assert.equal((await phone.getProfile()).version, 0);
});
