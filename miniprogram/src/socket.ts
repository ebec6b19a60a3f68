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
const EVENTS = ['Open', 'Message', 'Error', 'Reconnect', 'Close'] as const;

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

/** As WeChat's `SocketTask`, over as many connections as it takes. */
export interface Socket {
  /** Resolves when it is open for the first time; rejects when it never will be. */
  readonly opened: Promise<WechatMiniprogram.OnOpenListenerResult>;
  /** Rejects with `socket_not_open` while there is no connection: nothing is kept for later. */
  send(options: { data: string | ArrayBuffer } & Callbacks<unknown>): Promise<unknown>;
  /** Ends it for good. */
  close(options?: { code?: number; reason?: string }): void;
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

/** @internal */
export function openSocket(gateway: Gateway, options: SocketOptions): Socket {
  const { session, settings } = gateway;
  const since = session.now();
  const listeners: Partial<Record<keyof Events, ((value: unknown) => void)[]>> = {};
  let task: WechatMiniprogram.SocketTask | undefined;
  let openAt = 0;
  let over = false;
  let tries = 0;
  let refusals = 0;
  let timer = 0;
  let succeed: (result: Events['Open']) => void;
  let giveUp: (error: WxgateError) => void;

  const opened = new Promise<Events['Open']>((resolve, reject) => {
    succeed = resolve;
    giveUp = reject;
  });

  function emit<E extends keyof Events>(event: E, value: Events[E]): void {
    (listeners[event] || []).forEach((listener) => listener(value));
  }

  function end(close: SocketClose, error?: WxgateError): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    giveUp(error || new WxgateError('socket_not_open', { errMsg: close.reason }));
    emit('Close', Object.assign({}, close, error && { error }));
  }

  function again(close: SocketClose): void {
    if (over) return;
    if (session.loggedOutSince(since)) return end(close);
    const delay = Math.min(LONGEST_PAUSE, FIRST_PAUSE * Math.pow(2, tries)) * (0.5 + Math.random() / 2);
    tries += 1;
    emit('Reconnect', Object.assign({ delay }, close));
    timer = setTimeout(connect, delay);
  }

  function refused(close: SocketClose, times: number, error: WxgateError): void {
    refusals += times;
    if (refusals < REFUSALS) again(close);
    else end(close, error);
  }

  function failed(close: SocketClose, error: WxgateError): void {
    if (over) return;
    emit('Error', error);
    if (/^(no_answer|wx_login_failed)$/.test(error.code)) again(close);
    else refused(close, error.statusCode === 429 || error.statusCode >= 500 ? 1 : REFUSALS, error);
  }

  // A connection has ended, or did not come about.
  async function lost(token: string, close: SocketClose): Promise<void> {
    const wasOpen = openAt;
    task = undefined;
    openAt = 0;
    if (wasOpen && Date.now() - wasOpen > STEADY) tries = refusals = 0;
    if (wasOpen && close.code !== SESSION_OVER) return (options.reconnect || unmeant)(close) ? again(close) : end(close);

    if (!wasOpen) emit('Error', new WxgateError('no_answer', { errMsg: close.reason }));
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
  }

  function open(target: string, token: string): void {
    // Some phones tell of one end twice, as an error and as a close.
    let ended = false;
    const close = (close: SocketClose): void => {
      if (!ended && !over) void lost(token, close);
      ended = true;
    };
    const fail = ({ errMsg }: { errMsg: string }): void => close({ code: 1006, reason: errMsg });
    const mine = wx.connectSocket(Object.assign({}, options, { url: target, header: withToken(options.header, token), success() {}, complete() {}, fail }));
    if (ended || !mine) return;
    task = mine;
    mine.onOpen((result) => {
      openAt = Date.now();
      succeed(result);
      emit('Open', result);
    });
    mine.onMessage((message) => emit('Message', message));
    mine.onError(fail);
    mine.onClose(close);
  }

  async function connect(): Promise<void> {
    try {
      const target = targetOf(settings, options.url).replace(/^http/, 'ws');
      const token = await session.ensure();
      if (!over) open(target, token);
    } catch (error) {
      failed({ code: 1006, reason: '' }, error as WxgateError);
    }
  }

  const socket: Record<string, unknown> = {
    opened,
    send(message: { data: string | ArrayBuffer } & Callbacks<unknown>) {
      const sent = new Promise((success, reject) => {
        const fail = (cause?: unknown): void => reject(new WxgateError('socket_not_open', cause));
        if (task && openAt) task.send({ data: message.data, success, fail });
        else fail();
      });
      return settle(sent, message);
    },
    close(how: { code?: number; reason?: string } = {}) {
      end(Object.assign({ code: 1000, reason: '' }, how));
      if (task) task.close(how);
    },
  };
  EVENTS.forEach((event) => {
    socket[`on${event}`] = (listener: (value: unknown) => void) => {
      (listeners[event] = listeners[event] || []).push(listener);
    };
  });

  // Who does not look at it is told by onClose.
  opened.catch(() => {});
  settle(opened, options);
  // Listeners come first, even for a URL that is refused at once.
  void Promise.resolve().then(connect);
  return socket as unknown as Socket;
}

function unmeant({ code }: SocketClose): boolean {
  return code < 3000 && !/^10(00|02|03|07|09|10)$/.test(String(code));
}
