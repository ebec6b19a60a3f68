// The token of the session: found again in storage, renewed by one login at a time, forgotten when it is over.

import { WxgateError, refusalOf, retryAfterOf } from './error';
import { openLine } from './task';

// Codes of wx.login are worth nothing after a refusal, so that each try takes a new one.
const TRIES = 3;

/** @internal */
export interface Settings {
  /** Where wxgate is, without a slash at the end. */
  base: string;
  /** Where the gateway's own endpoints are. */
  prefix: string;
  appId: string;
  /** In seconds. */
  patience: number;
  wxLogin?: ((options: WechatMiniprogram.LoginOption) => void) | undefined;
}

/**
 * What had happened when a call began. A call that began before a log-out does not log in again, and one that began before
 * a login failed shares that failure instead of asking once more.
 * @internal
 */
export interface Since {
  logouts: number;
  failures: number;
}

/** @internal */
export interface Session {
  /** Empty where there is none. */
  token(): string;
  now(): Since;
  loggedOutSince(since: Since): boolean;
  /** A token to try. Waits for the login under way, or begins one, where there is none. */
  ensure(): Promise<string>;
  /** Another token than this one, which was of no use. */
  renew(useless: string, since: Since): Promise<string>;
  /** A new session; that under way if there is one. */
  logIn(): Promise<string>;
  /** The session of this token is over. A newer one stays, also one that another client has left in storage. */
  forget(token: string): void;
  /** Ends the session on this side, and hands out the token that is to be ended on the other. */
  leave(): Promise<string>;
}

/** @internal */
export function openSession(settings: Settings): Session {
  const key = `wxgate:${settings.appId}@${settings.base}`;
  let token = stored(key);
  let login: Promise<string> | undefined;
  let failure: unknown;
  let logouts = 0;
  let failures = 0;

  const drop = (): void => {
    token = '';
    inStorage(() => wx.removeStorageSync(key));
  };

  const logIn = (): Promise<string> => {
    login =
      login ||
      exchange(settings).then(
        (fresh) => {
          login = undefined;
          token = fresh;
          // Where there is no room for the new one, the old one must not be found again.
          inStorage(() => wx.removeStorageSync(key));
          inStorage(() => wx.setStorageSync(key, fresh));
          return fresh;
        },
        (error) => {
          login = undefined;
          failures += 1;
          failure = error;
          throw error;
        },
      );
    return login;
  };

  return {
    token: () => token,
    now: () => ({ logouts, failures }),
    loggedOutSince: (since) => since.logouts !== logouts,
    ensure: () => (token ? Promise.resolve(token) : logIn()),
    logIn,
    renew(useless, since) {
      if (token && token !== useless) return Promise.resolve(token);
      return !login && since.failures !== failures ? Promise.reject(failure) : logIn();
    },
    forget(useless) {
      if (token !== useless) return;
      token = stored(key);
      if (token === useless) drop();
    },
    async leave() {
      logouts += 1;
      if (login) await login.catch(() => {});
      const last = token;
      drop();
      return last;
    },
  };
}

/** @internal */
export function pause(seconds: number): Promise<void> {
  // Not all phones are to come back at the same moment.
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000 * (1 + Math.random() / 4)));
}

// A code for a token, with a new code wherever that may help.
async function exchange({ base, prefix, appId, patience, wxLogin }: Settings): Promise<string> {
  let spent = false;
  for (let tries = 1; ; tries += 1) {
    const data = { jsCode: await freshCode(wxLogin || wx.login), appId };
    const answer = await openLine().send('request', { url: `${base + prefix}/verify`, method: 'POST', data, redirect: 'manual' });
    const token = ((answer.data || {}) as { token?: unknown }).token;
    if (answer.statusCode === 200 && typeof token === 'string' && token) return token;

    const refusal = refusalOf(answer, '') || new WxgateError('unexpected_answer', undefined, answer);
    // Another code may do better, but one: a code of another app is invalid each time.
    const another: boolean = !spent && /^code_/.test(refusal.code);
    spent = spent || another;
    const wait = another ? 0 : retryAfterOf(answer);
    if (tries === TRIES || wait === undefined || wait > patience) throw refusal;
    await pause(wait);
  }
}

function freshCode(wxLogin: (options: WechatMiniprogram.LoginOption) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => reject(new WxgateError('wx_login_failed', cause));
    wxLogin({ success: (result) => (result.code ? resolve(result.code) : fail(result)), fail });
  });
}

function stored(key: string): string {
  const token: unknown = inStorage(() => wx.getStorageSync(key));
  return typeof token === 'string' ? token : '';
}

// Storage may be full or broken. Then a session lasts as long as the Mini Program runs.
function inStorage<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
