// One call from its first sending to its last: with the token, once more after a new login, once more after `Retry-After`.

import { Answer, WxgateError, bodyOf, refusalOf, retryAfterOf } from './error';
import { Session, Settings, pause } from './session';
import { Api, Line } from './task';

// How often one call waits as long as `Retry-After` says.
const WAITS = 2;

// Refusals that come before anything is done, so that even a POST can be sent again.
const NOTHING_DONE = /^(rate_limited|store_unavailable|(upstream_)?overloaded)$/;

/** @internal */
export interface CallOptions {
  url: string;
  method?: string | undefined;
  header?: Record<string, unknown> | undefined;
  timeout?: number | undefined;
  /** A function is asked for it before each sending, when there is a session. */
  data?: unknown;
  /** False where no login is wanted. */
  login?: boolean | undefined;
}

/** @internal */
export interface Gateway {
  settings: Settings;
  session: Session;
}

/** Resolves with the backend's answer, whatever its status. With `fixed`, that token and no other is sent. */
export async function call<T extends Answer>(
  { settings, session }: Gateway,
  line: Line,
  api: Api,
  options: CallOptions,
  fixed?: string,
): Promise<T> {
  const target = targetOf(settings, options.url);
  const since = session.now();
  const mayLogIn = options.login !== false && fixed === undefined;
  let renewed = false;
  let waits = 0;
  let token = fixed ?? (mayLogIn ? await session.ensure() : session.token());
  for (;;) {
    const data: unknown = typeof options.data === 'function' ? await options.data() : options.data;
    // A redirect could lead the token to somebody else.
    const sent = Object.assign({ redirect: 'manual' }, options, { url: target, data, header: withToken(options.header, token) });
    const answer = (await line.send(api, sent)) as T;
    const refusal = refusalOf(answer, token);
    const code = refusal?.code;

    const over = code === 'token_invalid' || code === 'token_missing';
    if (over) session.forget(token);
    if ((over || code === 'session_key_stale') && mayLogIn && !renewed && !session.loggedOutSince(since)) {
      renewed = true;
      token = await session.renew(token, since);
      continue;
    }
    const wait = retryAfterOf(answer);
    if (busy(answer, options.method, api, code) && wait !== undefined && wait <= settings.patience && waits < WAITS) {
      waits += 1;
      await pause(wait);
      continue;
    }
    if (refusal) throw refusal;
    return answer;
  }
}

/** A call to an endpoint of the gateway's own, for the body of its answer. */
export async function ask<T>(gateway: Gateway, line: Line, endpoint: string, options: object, api: Api = 'request', fixed?: string): Promise<T> {
  const url = `${gateway.settings.prefix}/${endpoint}`;
  const answer = await call(gateway, line, api, Object.assign({}, options, { url }), fixed);
  const body = bodyOf(answer);
  if (answer.statusCode >= 300 || !body) throw new WxgateError('unexpected_answer', undefined, answer);
  return body as T;
}

/** The header of a request that carries the token, and no other under the same name in another case. */
export function withToken(header: Record<string, unknown> | undefined, token: string): Record<string, unknown> {
  const sent: Record<string, unknown> = token ? { Authorization: `Bearer ${token}` } : {};
  Object.keys(header || {}).forEach((name) => {
    if (name.toLowerCase() !== 'authorization') sent[name] = header![name];
  });
  return sent;
}

/** Where a URL leads. What does not begin with a slash could turn the host into another one. */
export function targetOf({ base }: Settings, url: string): string {
  const path = url.startsWith(base) ? url.slice(base.length) : url;
  if (path[0] !== '/') throw new WxgateError('foreign_url', { errMsg: url });
  return base + path;
}

function busy({ statusCode }: Answer, method = 'GET', api: Api, code = ''): boolean {
  if (statusCode !== 429 && statusCode !== 503) return false;
  return NOTHING_DONE.test(code) || (api !== 'uploadFile' && !/^(POST|CONNECT)$/i.test(method));
}
