// The page that shows a user their orders.

const gateway = require('../services/gateway');

const NOTICES = {
  offline: 'No connection. Pull down to try again.',
  user_blocked: 'This account is blocked.',
  wechat_busy: 'WeChat is busy. Try again in a minute.',
};

Page({
  data: { openid: '', orders: [], notice: '' },

  onLoad() {
    return this.refresh();
  },

  refresh() {
    return this.show(gateway.call({ path: '/orders' }));
  },

  order(item) {
    return this.show(gateway.call({ path: '/orders', method: 'POST', data: { item } }));
  },

  async attach(filePath) {
    try {
      const { data } = await gateway.upload({ path: '/photos', filePath, name: 'photo' });
      this.setData({ photo: data, notice: '' });
    } catch (problem) {
      this.fail(problem);
    }
  },

  logOut(everywhere) {
    return gateway.logOut({ everywhere });
  },

  async show(answer) {
    try {
      const { data } = await answer;
      this.setData({ openid: data.openid, orders: data.orders, notice: '' });
    } catch (problem) {
      this.fail(problem);
    }
  },

  fail(problem) {
    this.setData({ notice: NOTICES[problem.code] || `Something went wrong (${problem.code}).` });
  },
});
