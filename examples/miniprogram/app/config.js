// What to change when this becomes your own Mini Program.

module.exports = {
  // Where wxgate is. On a phone this is https and a domain that is registered with WeChat.
  baseUrl: 'http://127.0.0.1:8080',
  // Yours, as in gateway.toml and in project.config.json.
  appId: 'wx4f4bc4dec97d474b',
  // The address of `wxgate simulate`, which then plays WeChat for a user of this name. With a real AppID: null.
  standIn: { url: 'http://127.0.0.1:9902', openid: 'oAlice' },
};
