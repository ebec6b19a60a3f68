// Profiles and phone numbers by the client package, against the wxgate binary and the stand-in of WeChat. How to run it: see the head of
// client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { createCipheriv, randomBytes } = require('node:crypto');
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

// WeChat goes on with a key that it made before: what it encrypts with that is not good for the gateway before its next login.
async function keyOfTheNextLogin(phone) {
  const key = randomBytes(16);
  const body = JSON.stringify({ openid: phone.openid, session_key: key.toString('base64') });
  await world.stack.orderFault({ fault: 'body', body });
  return (userInfo) => {
    const iv = randomBytes(16);
    const watermark = { appid: world.stack.appId, timestamp: Math.floor(Date.now() / 1000) };
    const cipher = createCipheriv('aes-128-cbc', key, iv);
    const text = JSON.stringify({ ...userInfo, openId: phone.openid, watermark });
    const encryptedData = Buffer.concat([cipher.update(text), cipher.final()]).toString('base64');
    return { encryptedData, iv: iv.toString('base64') };
  };
}

// What a tap on the phone button brings.
async function tapOf(purePhoneNumber, countryCode = '86') {
  const tap = { appId: world.stack.appId, purePhoneNumber, countryCode };
  const { code } = await postJson(`${world.stack.wechat}/_sim/phone_codes`, tap);
  return { detail: { code, errMsg: 'getPhoneNumber:ok' } };
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

test('the code of the phone button becomes a number of the profile', async () => {
  const phone = newPhone();
  const event = await tapOf('5550100', '1');
  const number = { phoneNumber: '+15550100', purePhoneNumber: '5550100', countryCode: '1' };
  assert.deepEqual(await phone.getPhoneNumber(event), number);
  assert.deepEqual(await phone.getPhoneNumber(event), number, 'sent once more');
  const profile = await phone.getProfile();
  assert.equal(profile.phoneNumber, '+15550100');
  assert.equal(profile.fields.phoneNumber.source, 'wechat');
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

test('a stale session_key makes one login, and the data is sent once more', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  const encrypted = await keyOfTheNextLogin(phone);
  const changes = Array.from({ length: 5 }, (_, n) => phone.updateProfile(encrypted({ nickName: 'Band', city: `City ${n}` })));
  for (const change of changes) assert.equal((await change).nickName, 'Band');
  assert.equal(phone.sentTo('/v1/verify'), 2);
  assert.notEqual(phone.token, token);
});

test('data of WeChat is asked for when there is a session, and not before', async () => {
  const phone = newPhone();
  assert.equal((await phone.updateProfile(() => userInfoOf(phone, { city: 'Guangzhou' }))).city, 'Guangzhou');
  assert.equal(phone.sentTo('/v1/profile'), 1);
});

test('what WeChat says when it gives no data is passed on whole', async () => {
  const said = { errMsg: 'getUserProfile:fail can only be invoked by user TAP gesture.' };
  assert.equal(await failure(newPhone().updateProfile(() => Promise.reject(said))), said);
});

test('a stale session_key costs nobody the session while the login fails', async () => {
  const phone = newPhone();
  await phone.login();
  await logInElsewhere(phone);
  const data = await userInfoOf(phone, { nickName: 'Band' });
  phone.wx.login = ({ fail }) => fail({ errMsg: 'login:fail' });
  assert.equal((await failure(phone.updateProfile(data))).code, 'wx_login_failed');
  await phone.getProfile();
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('the code of the phone button becomes a number, also after a login', async () => {
  const phone = newPhone();
  const { token } = await phone.login();
  await world.stack.logOut(token);
  const number = await phone.getPhoneNumber(await tapOf('13800000000'));
  assert.equal(number.purePhoneNumber, '13800000000');
  assert.equal(phone.sentTo('/v1/verify'), 2);
});

test('a number is had though another login has made the session_key stale', async () => {
  const phone = newPhone();
  await phone.login();
  await logInElsewhere(phone);
  assert.equal((await phone.getPhoneNumber(await tapOf('13800000001'))).purePhoneNumber, '13800000001');
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('a user who declines is not asked of the gateway', async () => {
  const phone = newPhone();
  const detail = { errMsg: 'getPhoneNumber:fail user deny' };
  assert.equal((await failure(phone.getPhoneNumber({ detail }))).code, 'phone_declined');
  assert.deepEqual(phone.sent, []);
});

test('a login code in the place of a phone code is told apart', async () => {
  const phone = newPhone();
  const code = await world.stack.makeCode(phone.openid);
  assert.equal((await failure(phone.getPhoneNumber({ detail: { code } }))).code, 'wrong_code_kind');
});

test('endpoints have callbacks too', async () => {
  const phone = newPhone();
  const profile = await new Promise((success, fail) => void phone.updateProfile({ nickName: 'Band' }, { success, fail }));
  assert.equal(profile.nickName, 'Band');
  const error = await new Promise((fail, success) => void phone.getPhoneNumber({ detail: {} }, { success, fail }));
  assert.equal(error.code, 'phone_declined');
});
