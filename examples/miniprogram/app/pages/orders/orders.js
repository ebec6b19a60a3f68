// What a user has ordered. The first look logs them in; nothing here knows of it.

const client = require('../../services/client');
const noticeOf = require('../../services/notice');

Component({
  data: { openid: '', orders: [], item: '', notice: '' },

  lifetimes: {
    attached() {
      this.refresh();
    },
  },

  methods: {
    onInput({ detail }) {
      this.setData({ item: detail.value });
    },

    refresh() {
      return this.show(client.request({ url: '/orders' }));
    },

    order() {
      const { item } = this.data;
      if (!item) return undefined;
      this.setData({ item: '' });
      return this.show(client.request({ url: '/orders', method: 'POST', data: { item } }));
    },

    async show(answer) {
      try {
        const { statusCode, data } = await answer;
        if (statusCode === 200) this.setData({ openid: data.openid, orders: data.orders, notice: '' });
        else this.setData({ notice: data.error || `The shop answers ${statusCode}.` });
      } catch (error) {
        this.setData({ notice: noticeOf(error) });
      }
    },
  },
});
