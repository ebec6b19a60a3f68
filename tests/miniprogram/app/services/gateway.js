// How this Mini Program speaks to its backend: with the token of its session, which it gets and renews by itself.

const LOGIN_TRIES = 3;

// The login under way. Whoever needs a token meanwhile waits for the same one.
let login = null;

// Sends a request to the backend as the user of this phone. Resolves with the backend's answer, whatever its status.
// Rejects with { code, statusCode, retryAfter } where the gateway refused, and with code 'offline' where nothing came back.
async function call(options) {
  const token = await session();
  const answer = await request(withToken(options, token));
  if (!hasNoSession(answer)) return accepted(answer);
  // The session has ended. One new login has to do; a second refusal is for the page to show.
  forget(token);
  return accepted(await request(withToken(options, await session())));
}

// The same for a file of the phone, under the form field `name`.
async function upload({ path, filePath, name }) {
  const token = await session();
  const { baseUrl } = getApp().globalData;
  return new Promise((resolve, reject) => {
    wx.uploadFile({
      url: baseUrl + path,
      filePath,
      name,
      header: { Authorization: `Bearer ${token}` },
      // wx.uploadFile hands over text, never an object.
      success: (answer) => resolve({ ...answer, data: JSON.parse(answer.data) }),
      fail: (error) => reject(offline(error)),
    });
  }).then(accepted);
}

// A WebSocket to the backend as the user of this phone, who is logged in by then.
async function socket({ path }) {
  const token = await session();
  const url = getApp().globalData.baseUrl.replace(/^http/, 'ws') + path;
  const task = wx.connectSocket({ url, header: { Authorization: `Bearer ${token}` } });
  // 1008 says that the session is over.
  task.onClose(({ code }) => code === 1008 && forget(token));
  return task;
}

// Ends the session here, or those on the user's other phones too.
async function logOut({ everywhere }) {
  const token = await session();
  const answer = await request(withToken({ path: '/v1/logout', method: 'POST', data: { everywhere } }, token));
  forget(token);
  return accepted(answer);
}

async function session() {
  const token = wx.getStorageSync('token');
  if (token) return token;
  if (!login) {
    login = logIn(LOGIN_TRIES).finally(() => {
      login = null;
    });
  }
  return login;
}

async function logIn(tries) {
  const jsCode = await freshCode();
  const { appId } = getApp().globalData;
  const answer = await request({ path: '/v1/verify', method: 'POST', data: { jsCode, appId } });
  if (answer.statusCode === 200) {
    wx.setStorageSync('token', answer.data.token);
    return answer.data.token;
  }
  const problem = refusal(answer);
  const spent = problem.code === 'code_used' || problem.code === 'code_invalid';
  if (tries > 1 && (spent || problem.retryAfter !== null)) {
    await pause(problem.retryAfter ?? 0);
    return logIn(tries - 1);
  }
  throw problem;
}

function freshCode() {
  return new Promise((resolve, reject) => {
    wx.login({ success: ({ code }) => resolve(code), fail: (error) => reject(offline(error)) });
  });
}

function request({ path, method = 'GET', data, header = {} }) {
  const { baseUrl } = getApp().globalData;
  return new Promise((resolve, reject) => {
    wx.request({ url: baseUrl + path, method, data, header, success: resolve, fail: (error) => reject(offline(error)) });
  });
}

function withToken(options, token) {
  return { ...options, header: { ...options.header, Authorization: `Bearer ${token}` } };
}

function hasNoSession(answer) {
  return answer.statusCode === 401 && ['token_invalid', 'token_missing'].includes(answer.data.code);
}

// Another call may have logged in again already; its token stays.
function forget(token) {
  if (wx.getStorageSync('token') === token) wx.removeStorageSync('token');
}

function accepted(answer) {
  if (answer.statusCode >= 400) throw refusal(answer);
  return answer;
}

function refusal({ statusCode, data, header }) {
  // A phone shows header names as the server wrote them.
  const name = Object.keys(header).find((key) => key.toLowerCase() === 'retry-after');
  return { code: data.code || 'unknown', statusCode, retryAfter: name ? Number(header[name]) : null };
}

function offline(error) {
  return { code: 'offline', statusCode: 0, retryAfter: null, errMsg: error.errMsg };
}

function pause(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

module.exports = { call, upload, socket, logOut };
