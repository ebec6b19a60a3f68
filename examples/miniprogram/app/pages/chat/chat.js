// A chat. The connection comes back by itself; the page only says how it stands.

const client = require('../../services/client');
const noticeOf = require('../../services/notice');

Component({
  data: { lines: [], text: '', state: 'connecting', notice: '' },

  lifetimes: {
    attached() {
      this.chat = client.connectSocket({ url: '/chat' });
      this.chat.onOpen(() => this.setData({ state: 'open', notice: '' }));
      this.chat.onMessage(({ data }) => this.setData({ lines: [...this.data.lines, data] }));
      this.chat.onReconnect(() => this.setData({ state: 'connecting' }));
      this.chat.onClose(({ error }) => this.setData({ state: 'closed', notice: error ? noticeOf(error) : '' }));
    },

    detached() {
      this.chat.close();
    },
  },

  methods: {
    onInput({ detail }) {
      this.setData({ text: detail.value });
    },

    async say() {
      const { text } = this.data;
      try {
        await this.chat.send({ data: text });
        this.setData({ text: '' });
      } catch {
        this.setData({ notice: 'Not sent: there is no connection at the moment.' });
      }
    },
  },
});
