// A WebSocket that comes back: after a lost connection with patience, after the end of its session with a new one.

import { Gateway, ask, targetOf, withToken } from './call';
import { WxgateError } from './error';
import { Callbacks, openLine, settle } from './task';

// Milliseconds: pauses between two tries, doubled each time, and how long a connection stands before they begin anew.
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
const STEADY = 60_000;
// How often it is refused, though the gateway is there, before it is given up.
const REFUSALS = 10;
// What the gateway closes with when the session has ended.
const SESSION_OVER = 1008;

export interface SocketClose {
  code: number;
  reason: string;
}

export interface SocketOptions
  extends Omit<WechatMiniprogram.ConnectSocketOption, 'success' | 'fail' | 'complete'>,
    Callbacks<WechatMiniprogram.OnOpenListenerResult> {
  /**
   * Whether to connect again after this end. Default: not after what somebody has meant: 1000, 1002, 1003, 1007, 1009, 1010
   * and the backend's own codes from 3000.
   */
  reconnect?: (close: SocketClose) => boolean;
}

interface Events {
  Open: WechatMiniprogram.OnOpenListenerResult;
  Message: WechatMiniprogram.SocketTaskOnMessageListenerResult;
  Error: WxgateError;
  Reconnect: SocketClose & { delay: number };
  Close: SocketClose & { error?: WxgateError };
}

type Message = { data: string | ArrayBuffer } & Callbacks<unknown>;

interface Listening {
  /** Each time it is open. */
  onOpen(listener: (result: Events['Open']) => void): void;
  onMessage(listener: (result: Events['Message']) => void): void;
  /** A try has failed. Others follow until `onClose`. */
  onError(listener: (error: WxgateError) => void): void;
  /** The connection is lost, and another is made after `delay` milliseconds. */
  onReconnect(listener: (result: Events['Reconnect']) => void): void;
  /** It is over for good, once. */
  onClose(listener: (result: Events['Close']) => void): void;
}

/** As WeChat's `SocketTask`, over as many connections as it takes. */
export interface Socket extends Listening {
  /** Resolves when it is open for the first time; rejects when it never will be. */
  readonly opened: Promise<Events['Open']>;
  /** Rejects with `socket_not_open` while there is no connection: nothing is kept for later. */
  send(message: Message): Promise<unknown>;
  /** Ends it for good. */
  close(how?: { code?: number; reason?: string }): void;
}

/** @internal */
export function openSocket(gateway: Gateway, options: SocketOptions): Socket {
  const { session, settings } = gateway;
  const since = session.now();
  const { emit, methods } = createEvents();
  let connection: Connection | undefined;
  let over = false;
  let tries = 0;
  let refusals = 0;
  let timer = 0;
  let succeed!: (result: Events['Open']) => void;
  let giveUp!: (error: WxgateError) => void;

  const opened = new Promise<Events['Open']>((resolve, reject) => {
    succeed = resolve;
    giveUp = reject;
  });

  // Whoever has closed it hears of nothing but that.
  const tell: typeof emit = (event, value) => {
    if (!over) emit(event, value);
  };

  const connect = async (): Promise<void> => {
    try {
      const url = targetOf(settings, options.url).replace(/^http/, 'ws');
      const token = await session.ensure();
      if (over) return;
      connection = openConnection(
        Object.assign({}, options, { url, header: withToken(options.header, token) }),
        (result) => {
          succeed(result);
          tell('Open', result);
        },
        (message) => tell('Message', message),
        (close, stood) => {
          connection = undefined;
          if (!over) void ended(token, close, stood);
        },
      );
    } catch (error) {
      failed({ code: 1006, reason: '' }, error as WxgateError);
    }
  };

  // `stood` says how long it was open, in milliseconds; nothing, if it never was.
  const ended = async (token: string, close: SocketClose, stood?: number): Promise<void> => {
    const wasOpen = stood !== undefined;
    if (wasOpen && stood > STEADY) tries = refusals = 0;
    if (wasOpen && close.code !== SESSION_OVER) return (options.reconnect || unmeant)(close) ? again(close) : end(close);
    if (!wasOpen) tell('Error', new WxgateError('no_answer', { errMsg: close.reason }));
    if (session.loggedOutSince(since)) return end(close);
    try {
      // Hardly a phone tells why an opening was refused, and a backend may say 1008 too. Whether the session is over, the
      // gateway knows; if it is, this asks with a new one.
      await ask(gateway, openLine(), 'session', {});
    } catch (error) {
      return failed(close, error as WxgateError);
    }
    if (session.token() !== token) again(close);
    else if (wasOpen) end(close);
    else refused(close, 1, new WxgateError('socket_refused', { errMsg: close.reason }));
  };

  const failed = (close: SocketClose, error: WxgateError): void => {
    if (over) return;
    tell('Error', error);
    if (/^(no_answer|wx_login_failed)$/.test(error.code)) again(close);
    else refused(close, error.statusCode === 429 || error.statusCode >= 500 ? 1 : REFUSALS, error);
  };

  const refused = (close: SocketClose, times: number, error: WxgateError): void => {
    refusals += times;
    if (refusals < REFUSALS) again(close);
    else end(close, error);
  };

  const again = (close: SocketClose): void => {
    if (over) return;
    if (session.loggedOutSince(since)) return end(close);
    const delay = Math.min(LONGEST_PAUSE, FIRST_PAUSE * Math.pow(2, tries)) * (0.5 + Math.random() / 2);
    tries += 1;
    timer = setTimeout(connect, delay);
    tell('Reconnect', Object.assign({ delay }, close));
  };

  const end = (close: SocketClose, error?: WxgateError): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    giveUp(error || new WxgateError('socket_not_open', { errMsg: close.reason }));
    emit('Close', Object.assign({}, close, error && { error }));
  };

  // Who does not look at it is told by onClose.
  opened.catch(() => {});
  settle(opened, options);
  // Listeners come first, even for a URL that is refused at once.
  void Promise.resolve().then(connect);
  return Object.assign(methods, {
    opened,
    send: (message: Message) => settle(connection ? connection.send(message) : notOpen(), message),
    close(how: { code?: number; reason?: string } = {}) {
      end(Object.assign({ code: 1000, reason: '' }, how));
      if (connection) connection.close(how);
    },
  });
}

interface Connection {
  send(message: Message): Promise<unknown>;
  close(how: { code?: number; reason?: string }): void;
}

// One connection, from its opening to its one end.
function openConnection(
  options: object,
  onOpen: (result: Events['Open']) => void,
  onMessage: (message: Events['Message']) => void,
  onEnd: (close: SocketClose, stood?: number) => void,
): Connection {
  let openAt: number | undefined;
  // Some phones tell of one end twice, as an error and as a close.
  let over = false;
  const end = (close: SocketClose): void => {
    if (over) return;
    over = true;
    onEnd(close, openAt && Date.now() - openAt);
  };
  const fail = ({ errMsg }: { errMsg: string }): void => end({ code: 1006, reason: errMsg });
  const callbacks = { success() {}, complete() {}, fail };
  const task = wx.connectSocket(Object.assign(options, callbacks) as unknown as WechatMiniprogram.ConnectSocketOption);
  task.onOpen((result) => {
    openAt = Date.now();
    onOpen(result);
  });
  task.onMessage(onMessage);
  task.onError(fail);
  task.onClose(end);
  return {
    send: ({ data }) =>
      openAt ? new Promise((success, fail) => task.send({ data, success, fail: (cause) => fail(new WxgateError('socket_not_open', cause)) })) : notOpen(),
    close: (how) => task.close(how),
  };
}

function createEvents(): { emit<E extends keyof Events>(event: E, value: Events[E]): void; methods: Listening } {
  const methods: Record<string, unknown> = {};
  const listeners: Record<string, ((value: unknown) => void)[]> = {};
  ['Open', 'Message', 'Error', 'Reconnect', 'Close'].forEach((event) => {
    const known: ((value: unknown) => void)[] = (listeners[event] = []);
    methods[`on${event}`] = (listener: (value: unknown) => void) => void known.push(listener);
  });
  return { emit: (event, value) => listeners[event]!.forEach((listener) => listener(value)), methods: methods as unknown as Listening };
}

function notOpen(): Promise<never> {
  return Promise.reject(new WxgateError('socket_not_open'));
}

function unmeant({ code }: SocketClose): boolean {
  return code < 3000 && !/^10(00|02|03|07|09|10)$/.test(String(code));
}
