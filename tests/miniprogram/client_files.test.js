// Uploads and downloads of the client package, against the wxgate binary. How to run it: see the head of
// client_login.test.js.

'use strict';

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { failure } = require('./client_phone');
const { openStories } = require('./client_stories');
const { json } = require('./node_backend');

const TEN_MEGABYTES = 10_000_000;

const { world, newPhone, phoneWithDeadToken } = openStories({
  users: 'oFiles',
  toml: (backend) => `${backend.toml('node')}\n[[routes]]\npath = "/node/"\nupstream = "node"\n`,
});

function photoOf(bytes) {
  const photo = randomBytes(bytes);
  const filePath = path.join(world.stack.dir, `photo-${bytes}.jpg`);
  fs.writeFileSync(filePath, photo);
  return { filePath, sha256: createHash('sha256').update(photo).digest('hex') };
}

test('an upload of ten megabytes arrives whole', async () => {
  const phone = newPhone();
  const { filePath, sha256 } = photoOf(TEN_MEGABYTES);
  const { statusCode, data } = await phone.uploadFile({ url: '/photos', filePath, name: 'photo' });
  assert.equal(statusCode, 200);
  assert.deepEqual(JSON.parse(data), { openid: phone.openid, bytes: TEN_MEGABYTES, sha256 });
});

test('an upload of ten megabytes with a dead token arrives whole after a login', async () => {
  const phone = phoneWithDeadToken();
  const { filePath, sha256 } = photoOf(TEN_MEGABYTES);
  const { data } = await phone.uploadFile({ url: '/photos', filePath, name: 'photo' });
  assert.deepEqual(JSON.parse(data), { openid: phone.openid, bytes: TEN_MEGABYTES, sha256 });
  assert.equal(phone.sentTo('/v1/verify'), 1);
  assert.equal(phone.sentTo('/photos'), 2);
});

test('an upload tells how far it is, to who asked before the login was over', async () => {
  const phone = newPhone();
  const { filePath } = photoOf(1_000_000);
  const heard = [];
  const task = phone.uploadFile({ url: '/photos', filePath, name: 'photo' });
  task.onProgressUpdate(({ progress, totalBytesSent }) => heard.push([progress, totalBytesSent]));
  await task;
  assert.ok(heard.length > 5, `${heard.length} times`);
  assert.equal(heard.at(-1)[0], 100);
  assert.ok(heard.at(-1)[1] > 1_000_000);
});

test('an upload that is aborted during the login is never sent', async () => {
  const phone = newPhone();
  const task = phone.uploadFile({ url: '/photos', filePath: photoOf(1000).filePath, name: 'photo' });
  task.abort();
  assert.equal((await failure(task)).code, 'aborted');
  await phone.login();
  assert.equal(phone.sentTo('/photos'), 0);
});

test('an upload that is aborted half way ends there', async () => {
  const phone = newPhone();
  const { filePath } = photoOf(5_000_000);
  const task = phone.uploadFile({ url: '/photos', filePath, name: 'photo' });
  task.onProgressUpdate(({ progress }) => progress > 20 && task.abort());
  assert.equal((await failure(task)).code, 'aborted');
});

// As documented: many phones show no header of an upload in its result.
function withoutHeaders(phone) {
  phone.wx.uploadFile = ((upload) => (options) =>
    upload({ ...options, success: ({ header, cookies, ...answer }) => options.success(answer) }))(phone.wx.uploadFile);
  return phone;
}

test('a dead token is noticed where an upload has no headers', async () => {
  const phone = withoutHeaders(phoneWithDeadToken());
  const { statusCode } = await phone.uploadFile({ url: '/photos', filePath: photoOf(1000).filePath, name: 'photo' });
  assert.equal(statusCode, 200);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('an upload that the backend is too busy for is not sent again', async () => {
  const phone = withoutHeaders(newPhone());
  world.backend.answers((request, response) => json(response, 503, {}, { 'Retry-After': '1' }));
  assert.equal((await phone.uploadFile({ url: '/node/photos', filePath: photoOf(1000).filePath, name: 'photo' })).statusCode, 503);
  assert.equal(phone.sentTo('/node/photos'), 1);
});

test('a file is downloaded, after a login where that is needed', async () => {
  const invoice = randomBytes(300_000);
  world.backend.answers((request, response) => response.writeHead(200, { 'content-length': invoice.length }).end(invoice));
  for (const phone of [newPhone(), phoneWithDeadToken()]) {
    const heard = [];
    const task = phone.downloadFile({ url: '/node/invoice' });
    task.onProgressUpdate(({ totalBytesWritten }) => heard.push(totalBytesWritten));
    const { tempFilePath } = await task;
    assert.deepEqual(fs.readFileSync(tempFilePath), invoice);
    assert.equal(heard.at(-1), invoice.length);
    assert.equal(phone.sentTo('/v1/verify'), 1);
  }
});

test('a dead token is noticed by its headers where the file of a refusal can not be read', async () => {
  world.backend.answers((request, response) => response.end('the invoice'));
  const phone = phoneWithDeadToken();
  phone.wx.getFileSystemManager = () => ({
    readFileSync() {
      throw new Error('readFileSync:fail permission denied');
    },
  });
  assert.equal((await phone.downloadFile({ url: '/node/invoice' })).statusCode, 200);
  assert.equal(phone.sentTo('/v1/verify'), 1);
});

test('a download waits for a busy backend, though its result has no headers', async () => {
  const phone = newPhone();
  let seen = 0;
  world.backend.answers((request, response) => {
    seen += 1;
    if (seen === 1) json(response, 503, {}, { 'Retry-After': '3' });
    else response.end('the invoice');
  });
  assert.equal((await phone.downloadFile({ url: '/node/invoice' })).statusCode, 200);
  assert.equal(phone.waits.length, 1);
  assert.ok(phone.waits[0] >= 3000);
});

test('what the backend says of a file that is not there comes as it is', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => json(response, 404, { error: 'no such invoice' }));
  const { statusCode, tempFilePath } = await phone.downloadFile({ url: '/node/invoice' });
  assert.equal(statusCode, 404);
  assert.match(fs.readFileSync(tempFilePath, 'utf8'), /no such invoice/);
});

test('transfers have callbacks too', async () => {
  const phone = newPhone();
  world.backend.answers((request, response) => response.end('the invoice'));
  const { filePath } = photoOf(1000);
  const uploaded = await new Promise((success, fail) => void phone.uploadFile({ url: '/photos', filePath, name: 'photo', success, fail }));
  assert.equal(uploaded.statusCode, 200);
  const downloaded = await new Promise((success, fail) => void phone.downloadFile({ url: '/node/invoice', success, fail }));
  assert.equal(downloaded.statusCode, 200);
});
