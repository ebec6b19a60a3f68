// The page on which users chat.

const gateway = require('../services/gateway');

// After these it connects again by itself: the session is over (the new connection logs in), or the gateway stops or has
// had nothing to pass on for too long.
const AGAIN = [1001, 1008];
const PAUSE = 1000;

Page({
  data: { openid: '', said: [], closedWith: [] },

  async onLoad() {
    this.task = await gateway.socket({ path: '/chat/room' });
    this.task.onMessage(({ data }) => {
      const { openid, text } = JSON.parse(data);
      this.setData(text === undefined ? { openid } : { said: [...this.data.said, `${openid}: ${text}`] });
    });
    this.task.onClose(({ code }) => {
      this.setData({ openid: '', closedWith: [...this.data.closedWith, code] });
      if (!this.left && AGAIN.includes(code)) setTimeout(() => this.onLoad(), PAUSE);
    });
  },

  say(text) {
    this.task.send({ data: text });
  },

  onUnload() {
    this.left = true;
    this.task.close();
  },
});
