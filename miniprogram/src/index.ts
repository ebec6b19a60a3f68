// The client of a WeChat Mini Program whose backend stands behind wxgate.

import { Answer, WxgateError } from './error';
import { CallOptions, Gateway, ask, call } from './call';
import { openSession } from './session';
import { Socket, SocketOptions, openSocket } from './socket';
import { AnyTask, Api, Callbacks, DownloadTask, RequestTask, UploadTask, openLine, settle, startTask } from './task';

export { WxgateError } from './error';
export type { ClientCode, ErrorCode, GatewayCode } from './error';
export type { Socket, SocketClose, SocketOptions } from './socket';
export type { Callbacks, DownloadTask, RequestTask, Task, UploadTask } from './task';

export interface ClientOptions {
  /** Where wxgate is, `https://api.example.com`. */
  baseUrl: string;
  appId: string;
  /** `[api] prefix` of wxgate. Default: `/v1`. */
  prefix?: string;
  /** The longest `Retry-After` that a call waits for by itself, in seconds. Default: 10. */
  patience?: number;
  /** What makes codes instead of `wx.login`: that of another platform, or of a stand-in. */
  wxLogin?: (options: WechatMiniprogram.LoginOption) => void;
}

interface Access {
  /** A path, or a URL that begins with `baseUrl`. */
  url: string;
  /** `false` sends the token if there is one and does not log in otherwise. Default: true. */
  login?: boolean;
}

type Body = string | WechatMiniprogram.IAnyObject | ArrayBuffer;
type Without<T> = Omit<T, 'success' | 'fail' | 'complete' | 'url'> & Access;

export type RequestOptions<T extends Body = Body> = Without<WechatMiniprogram.RequestOption<T>> &
  Callbacks<WechatMiniprogram.RequestSuccessCallbackResult<T>>;
export type UploadOptions = Without<WechatMiniprogram.UploadFileOption> & Callbacks<WechatMiniprogram.UploadFileSuccessCallbackResult>;
export type DownloadOptions = Without<WechatMiniprogram.DownloadFileOption> & Callbacks<WechatMiniprogram.DownloadFileSuccessCallbackResult>;

/** What every call of the gateway's own endpoints takes besides. */
export interface EndpointOptions<T> extends Callbacks<T> {
  header?: WechatMiniprogram.IAnyObject;
  timeout?: number;
}

export interface LogoutOptions extends EndpointOptions<void> {
  /** Ends the sessions on the user's other phones too. */
  everywhere?: boolean;
}

interface Fields {
  nickName?: string;
  /** 0: not told, 1: a man, 2: a woman. */
  gender?: number;
  language?: string;
  city?: string;
  province?: string;
  country?: string;
  avatarUrl?: string;
}

/** What `PUT /v1/profile` takes: plain fields, of which `null` removes one, or what WeChat has signed or encrypted. */
export type ProfileChange = { [F in keyof Fields]?: Fields[F] | null } & {
  rawData?: string;
  signature?: string;
  encryptedData?: string;
  iv?: string;
};

export interface Profile extends Fields, Partial<PhoneNumber> {
  version: number;
  fields: {
    [F in keyof Fields | keyof PhoneNumber]?: { source: 'client' | 'signed' | 'decrypted' | 'wechat' | (string & {}); updatedAt: string };
  };
}

export interface PhoneNumber {
  /** With the country code, where it is a foreign one. */
  phoneNumber: string;
  purePhoneNumber: string;
  countryCode: string;
}

/** The part of the phone button's event that is used. */
export interface PhoneEvent {
  detail: { code?: string; errMsg?: string; errno?: number };
}

/** A client; one per Mini Program is enough. */
export interface Client {
  /** Sees to it that there is a session; `force` makes a new one, with a new session_key. Requests do so by themselves. */
  login(options?: { force?: boolean } & Callbacks<{ token: string }>): Promise<{ token: string }>;
  /** Ends this session, or all of this user in this app. What is under way does not log in again. */
  logout(options?: LogoutOptions): Promise<void>;
  /** As `wx.request`: what the backend answers comes to `success`, whatever its status. */
  request<T extends Body = Body>(options: RequestOptions<T>): RequestTask<WechatMiniprogram.RequestSuccessCallbackResult<T>>;
  uploadFile(options: UploadOptions): UploadTask<WechatMiniprogram.UploadFileSuccessCallbackResult>;
  downloadFile(options: DownloadOptions): DownloadTask<WechatMiniprogram.DownloadFileSuccessCallbackResult>;
  connectSocket(options: SocketOptions): Socket;
  getProfile(options?: EndpointOptions<Profile>): RequestTask<Profile>;
  /**
   * A function is asked for the change when there is a session, and again after a new login: what WeChat has signed or
   * encrypted is worth nothing after the next one.
   */
  updateProfile(change: ProfileChange | (() => ProfileChange | PromiseLike<ProfileChange>), options?: EndpointOptions<Profile>): RequestTask<Profile>;
  /** `filePath` is what `chooseAvatar` hands over. */
  uploadAvatar(filePath: string, options?: EndpointOptions<{ avatarUrl: string }>): UploadTask<{ avatarUrl: string }>;
  /** `event` is that of `<button open-type="getPhoneNumber">`. */
  getPhoneNumber(event: PhoneEvent, options?: EndpointOptions<PhoneNumber>): RequestTask<PhoneNumber>;
}

export function createClient({ baseUrl, appId, prefix = '/v1', patience = 10, wxLogin }: ClientOptions): Client {
  const base = baseUrl.replace(/\/+$/, '');
  if (!/^https?:\/\/[^\s/?#@\\]+(\/[^\s?#\\]*)?$/.test(base)) throw new TypeError(`baseUrl: ${baseUrl}`);
  const settings = { base, appId, prefix, patience, wxLogin };
  const session = openSession(settings);
  const gateway: Gateway = { settings, session };

  function send<T extends Answer>(api: Api, options: CallOptions & Callbacks<T>): AnyTask<T> {
    return startTask((line) => call<T>(gateway, line, api, options), options);
  }

  function endpoint<T>(name: string, more: object, options: EndpointOptions<T> = {}, api?: Api): AnyTask<T> {
    return startTask((line) => ask<T>(gateway, line, name, Object.assign({}, options, more), api), options);
  }

  return {
    login: (options = {}) =>
      settle(
        (options.force ? session.logIn() : session.ensure()).then((token) => ({ token })),
        options,
      ),
    logout: (options = {}) => settle(logOut(gateway, options), options),
    request: <T extends Body>(options: RequestOptions<T>) =>
      send<WechatMiniprogram.RequestSuccessCallbackResult<T>>('request', options),
    uploadFile: (options) => send('uploadFile', options),
    downloadFile: (options) => send('downloadFile', options),
    connectSocket: (options) => openSocket(gateway, options),
    getProfile: (options) => endpoint('profile', {}, options),
    updateProfile: (data, options) => endpoint('profile', { method: 'PUT', data }, options),
    uploadAvatar: (filePath, options) => endpoint('profile/avatar', { filePath, name: 'file' }, options, 'uploadFile'),
    getPhoneNumber: ({ detail }, options) =>
      detail.code
        ? endpoint('phone', { method: 'POST', data: { code: detail.code } }, options)
        : startTask(() => Promise.reject(new WxgateError('phone_declined', detail)), options),
  };
}

async function logOut(gateway: Gateway, { everywhere, header, timeout }: LogoutOptions): Promise<void> {
  const token = await gateway.session.leave();
  if (!token) return;
  const request = { url: `${gateway.settings.prefix}/logout`, method: 'POST', data: { everywhere: !!everywhere }, header, timeout };
  try {
    const answer = await call(gateway, openLine(), 'request', request, token);
    if (answer.statusCode !== 204) throw new WxgateError('unexpected_answer', undefined, answer);
  } catch (error) {
    // Then it was over already.
    if ((error as WxgateError).code !== 'token_invalid') throw error;
  }
}
