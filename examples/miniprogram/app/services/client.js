// The one client that all pages share, so that they share its login.

const { appId, baseUrl, standIn } = require('../config');
const { createClient } = require('../utils/wxgate');

// WeChat's own codes mean nothing to the stand-in, which makes some for any user one names.
function loginAtStandIn({ success, fail }) {
  wx.request({
    url: `${standIn.url}/_sim/codes`,
    method: 'POST',
    data: { appId, openid: standIn.openid },
    success: ({ data }) => success({ code: data.code, errMsg: 'login:ok' }),
    fail,
  });
}

module.exports = createClient({ baseUrl, appId, ...(standIn ? { wxLogin: loginAtStandIn } : {}) });
