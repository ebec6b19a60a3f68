// What a call fails with, and how a refusal by the gateway is told from an answer of the backend.

/** A `code` of the gateway; docs/ERRORS.md of wxgate says what each means. */
export type GatewayCode =
  | 'app_misconfigured'
  | 'app_not_allowed'
  | 'bad_request'
  | 'body_too_large'
  | 'code_invalid'
  | 'code_used'
  | 'headers_too_large'
  | 'image_too_large'
  | 'internal'
  | 'method_not_allowed'
  | 'misdirected_request'
  | 'no_route'
  | 'overloaded'
  | 'phone_code_invalid'
  | 'profile_changed'
  | 'proxy_not_trusted'
  | 'rate_limited'
  | 'request_timeout'
  | 'session_key_stale'
  | 'store_unavailable'
  | 'token_invalid'
  | 'token_missing'
  | 'unknown_app'
  | 'unsupported_image'
  | 'upstream_overloaded'
  | 'upstream_timeout'
  | 'upstream_unreachable'
  | 'uri_too_long'
  | 'user_blocked'
  | 'wechat_busy'
  | 'wechat_timeout'
  | 'wechat_unreachable'
  | 'wrong_code_kind';

/** A `code` that this package finds by itself. */
export type ClientCode =
  /** `abort()` was called. */
  | 'aborted'
  /** A URL that does not lead to `baseUrl`. Nothing was sent. */
  | 'foreign_url'
  /** WeChat reports no answer: no network, a timeout, a domain that is not registered. `cause` is what it said. */
  | 'no_answer'
  /** The phone button brought no code: the user declined, or the quota is spent. `cause` is the event's detail. */
  | 'phone_declined'
  /** A WebSocket that is not open at the moment: nothing was sent. */
  | 'socket_not_open'
  /** The gateway is there and the session alive, and yet the WebSocket was refused again and again. */
  | 'socket_refused'
  /** An answer where the gateway should have answered, but not of its making. */
  | 'unexpected_answer'
  /** `wx.login` failed. `cause` is what it said, whole. */
  | 'wx_login_failed';

/** Newer gateways may have codes that are not listed here. */
export type ErrorCode = GatewayCode | ClientCode | (string & {});

/** What WeChat hands over where there was an answer, of whatever status. */
export interface Answer {
  statusCode: number;
  header?: Record<string, unknown>;
  data?: unknown;
  filePath?: string;
  tempFilePath?: string;
}

/** Every rejection of this package, and what `fail` gets. */
export class WxgateError extends Error {
  override readonly name = 'WxgateError';
  /** As other errors of a Mini Program have it. */
  readonly errMsg: string;
  /** 0 where there was no answer. */
  readonly statusCode: number = 0;
  /** What to name when reporting it to whoever runs the gateway. */
  readonly requestId?: string;
  /** In seconds: how long the gateway asked to wait. */
  readonly retryAfter?: number;

  constructor(
    readonly code: ErrorCode,
    /** What WeChat said, whole, where it was WeChat that failed. */
    readonly cause?: unknown,
    answer?: Answer,
  ) {
    super(code);
    const said = (cause as { errMsg?: string } | undefined)?.errMsg;
    this.errMsg = `wxgate:fail ${code}${said ? ` (${said})` : ''}`;
    if (answer) {
      this.statusCode = answer.statusCode;
      const [requestId, wait] = [headerOf(answer, 'x-request-id'), retryAfterOf(answer)];
      if (requestId !== undefined) this.requestId = requestId;
      if (wait !== undefined) this.retryAfter = wait;
    }
  }
}

/**
 * The refusal in an answer, where it is the gateway's own. What a backend answers is none, whatever its status.
 * @internal
 */
export function refusalOf(answer: Answer, token: string): WxgateError | undefined {
  // What the gateway passes on, it says so of.
  if (answer.statusCode < 400 || /wxgate/.test(headerOf(answer, 'via') || '')) return undefined;
  const body = bodyOf(answer);
  const id = headerOf(answer, 'x-request-id');
  if (body) {
    // Its bodies name the id that its header names. Files come without headers on some phones.
    const own = typeof body['code'] === 'string' && body['requestId'] && (!id || id === body['requestId']);
    return own ? new WxgateError(body['code'] as string, undefined, answer) : undefined;
  }
  // A HEAD has no body to read, nor has an answer that came in chunks.
  if (answer.statusCode === 401 && id && headerOf(answer, 'www-authenticate') === 'Bearer') {
    return new WxgateError(token ? 'token_invalid' : 'token_missing', undefined, answer);
  }
  return undefined;
}

/** @internal */
export function retryAfterOf(answer: Answer): number | undefined {
  const value = headerOf(answer, 'retry-after');
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined;
}

// Phones differ in the case of names.
function headerOf({ header }: Answer, name: string): string | undefined {
  const key = Object.keys(header || {}).find((key) => key.toLowerCase() === name);
  return key === undefined ? undefined : String(header![key]);
}

/**
 * What an answer says in JSON, in whatever dress it comes.
 * @internal
 */
export function bodyOf(answer: Answer): Record<string, unknown> | undefined {
  try {
    let { data } = answer;
    const file = answer.tempFilePath || answer.filePath;
    if (file) data = wx.getFileSystemManager().readFileSync(file, 'utf8');
    // What is looked for are words of ASCII.
    if ((data as ArrayBuffer).byteLength) data = String.fromCharCode(...new Uint8Array(data as ArrayBuffer));
    if (typeof data === 'string') data = JSON.parse(data);
    return typeof data === 'object' && data ? (data as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
