// What a Mini Program in strict TypeScript writes, and what it must not get away with. It is only compiled.

import { ErrorCode, Profile, SocketClose, WxgateError, createClient } from 'wxgate-client';

interface Order {
  id: number;
  item: string;
}

const client = createClient({ baseUrl: 'https://api.example.com', appId: 'wx4f4bc4dec97d474b' });

async function promises(): Promise<void> {
  const { token }: { token: string } = await client.login({ force: true });
  const answer = await client.request<{ orders: Order[] }>({ url: '/orders', data: { token }, login: false, timeout: 1000 });
  const first: Order | undefined = answer.data.orders[0];
  const status: number = answer.statusCode;

  const upload = client.uploadFile({ url: '/photos', filePath: 'wxfile://tmp', name: 'photo', formData: { id: first?.id } });
  upload.onProgressUpdate(({ progress, totalBytesSent }) => console.log(progress, totalBytesSent, status));
  upload.abort();
  const text: string = (await upload).data;

  const download = client.downloadFile({ url: `/invoices/${text}` });
  download.onProgressUpdate(({ totalBytesWritten }) => console.log(totalBytesWritten));
  const path: string = (await download).tempFilePath;

  const profile: Profile = await client.updateProfile({ nickName: 'Band' }, { header: { 'If-Match': '"1"' } });
  await client.updateProfile({ city: null });
  await client.updateProfile(() => wx.getUserProfile({ desc: 'for the profile' }).then(({ encryptedData, iv }) => ({ encryptedData, iv })));
  const { avatarUrl } = await client.uploadAvatar(path);
  console.log(profile.nickName, profile.fields.nickName?.source, avatarUrl);
  await client.logout({ everywhere: true });
}

function callbacks(): void {
  client.request<string>({
    url: '/orders',
    success: ({ data }) => console.log(data.length),
    fail: (error) => console.log(error.code, error.retryAfter),
    complete: (result) => console.log(result instanceof WxgateError ? result.requestId : result.statusCode),
  });
  const socket = client.connectSocket({ url: '/chat', protocols: ['chat'], reconnect: ({ code }: SocketClose) => code === 1006 });
  socket.onOpen(({ header }) => socket.send({ data: String(header) }));
  socket.onMessage(({ data }) => console.log(typeof data === 'string' ? data : data.byteLength));
  socket.onReconnect(({ delay, code }) => console.log(delay, code));
  socket.onClose(({ error }) => console.log(error?.code));
}

// A page with the buttons, as WeChat's typings have their events.
Page({
  async onPhone(event: WechatMiniprogram.ButtonGetPhoneNumber) {
    const { purePhoneNumber } = await client.getPhoneNumber(event);
    this.setData({ purePhoneNumber });
  },
  async onAvatar(event: WechatMiniprogram.CustomEvent<{ avatarUrl: string }>) {
    this.setData(await client.uploadAvatar(event.detail.avatarUrl));
  },
});

function codes(error: WxgateError): string {
  const code: ErrorCode = error.code;
  switch (code) {
    case 'user_blocked':
    case 'no_answer':
      return 'known';
    default:
      return code;
  }
}

// @ts-expect-error: without an AppID nothing is known of who logs in
createClient({ baseUrl: 'https://api.example.com' });
// @ts-expect-error: WeChat has no PATCH
client.request({ url: '/orders', method: 'PATCH' });
// @ts-expect-error: a file has a name in the form
client.uploadFile({ url: '/photos', filePath: 'wxfile://tmp' });
// @ts-expect-error: progress is that of an upload
client.uploadFile({ url: '/', filePath: '', name: '' }).onProgressUpdate(({ totalBytesWritten }) => totalBytesWritten);
// @ts-expect-error: a profile never says whose it is
client.updateProfile({ openid: 'oVictim' });
// @ts-expect-error: the token of the session is not the client's to give away by accident
client.token;

void [promises, callbacks, codes];
