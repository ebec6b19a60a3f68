// Who the user wants to be: a nickname, an avatar, a phone number. Each is sent only when the user hands it over.

const client = require('../../services/client');
const noticeOf = require('../../services/notice');

Component({
  data: { nickName: '', avatarUrl: '', phone: '', progress: 0, notice: '' },

  lifetimes: {
    attached() {
      this.refresh();
    },
  },

  methods: {
    refresh() {
      return this.show(client.getProfile(), ({ nickName = '', avatarUrl = '' }) => ({ nickName, avatarUrl }));
    },

    // From `chooseAvatar`: a file that WeChat deletes soon.
    onAvatar({ detail }) {
      const upload = client.uploadAvatar(detail.avatarUrl);
      upload.onProgressUpdate(({ progress }) => this.setData({ progress }));
      return this.show(upload, ({ avatarUrl }) => ({ avatarUrl, progress: 0 }));
    },

    // A form's, because WeChat may still clear a nickname after the field was left.
    onNickname({ detail }) {
      return this.show(client.updateProfile({ nickName: detail.value.nickName }), ({ nickName }) => ({ nickName }));
    },

    onPhone(event) {
      return this.show(client.getPhoneNumber(event), ({ purePhoneNumber }) => ({ phone: purePhoneNumber }));
    },

    logOut() {
      return this.show(client.logout(), () => ({ nickName: '', avatarUrl: '', phone: '' }));
    },

    async show(answer, shown) {
      try {
        this.setData({ ...shown(await answer), notice: '' });
      } catch (error) {
        this.setData({ notice: noticeOf(error) });
      }
    },
  },
});
