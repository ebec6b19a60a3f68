// A promise with the methods of WeChat's tasks. It can be used at once, though the request is sent only after a login, or twice.

import { Answer, WxgateError } from './error';

/** WeChat's callback style. Where one of them is given, a failure that nobody awaits is not reported as unhandled. */
export interface Callbacks<T> {
  success?: (result: T) => void;
  fail?: (error: WxgateError) => void;
  complete?: (result: T | WxgateError) => void;
}

/** Where a request is sent again, listeners hear of the first sending too. */
export interface Task<T> extends Promise<T> {
  /** Rejects with `aborted`. Nothing is sent any more, also where a login was waited for. */
  abort(): void;
  onHeadersReceived(listener: (result: { header: WechatMiniprogram.IAnyObject; cookies?: string[] }) => void): void;
  offHeadersReceived(listener: (...result: never[]) => void): void;
}

export interface RequestTask<T> extends Task<T> {
  /** With `enableChunked`. */
  onChunkReceived(listener: WechatMiniprogram.OnChunkReceivedCallback): void;
  offChunkReceived(listener: WechatMiniprogram.OnChunkReceivedCallback): void;
}

export interface UploadTask<T> extends Task<T> {
  onProgressUpdate(listener: WechatMiniprogram.UploadTaskOnProgressUpdateCallback): void;
  offProgressUpdate(listener: WechatMiniprogram.UploadTaskOnProgressUpdateCallback): void;
}

export interface DownloadTask<T> extends Task<T> {
  onProgressUpdate(listener: WechatMiniprogram.DownloadTaskOnProgressUpdateCallback): void;
  offProgressUpdate(listener: WechatMiniprogram.DownloadTaskOnProgressUpdateCallback): void;
}

/** @internal */
export type Api = 'request' | 'uploadFile' | 'downloadFile';

type Listener = (...args: never[]) => void;
type WxTask = Record<string, (argument?: unknown) => void>;

/**
 * What a task sends by: one call of `wx` after another, each with the listeners of the task.
 * @internal
 */
export interface Line {
  send(api: Api, options: object): Promise<Answer>;
  /** The methods of a task. `aborted` is told when that is called. */
  methods(aborted: (error: WxgateError) => void): object;
}

/** @internal */
export function openLine(): Line {
  let task: Partial<WxTask> = {};
  let over: WxgateError | undefined;
  const listeners: [string, Listener][] = [];

  const hear = (event: string, listener: Listener): void => task[`on${event}`]?.(listener);

  return {
    send: (api, options) =>
      new Promise((resolve, reject) => {
        if (over) return reject(over);
        let head: object | undefined;
        const results = {
          success: (answer: Answer) => resolve(head ? Object.assign({}, head, answer) : answer),
          fail: (cause: unknown) => reject(new WxgateError('no_answer', cause)),
          complete() {},
        };
        task = (wx[api] as unknown as (options: object) => WxTask)(Object.assign({}, options, results)) || {};
        // The results of transfers are documented without headers, and these say when to come again.
        if (api !== 'request') hear('HeadersReceived', (result: { header: object }) => (head = { header: result.header }));
        listeners.forEach(([event, listener]) => hear(event, listener));
      }),

    methods(aborted) {
      const methods: Record<string, unknown> = {
        abort() {
          over = new WxgateError('aborted');
          aborted(over);
          task['abort']?.();
        },
      };
      ['HeadersReceived', 'ProgressUpdate', 'ChunkReceived'].forEach((event) => {
        methods[`on${event}`] = (listener: Listener) => {
          listeners.push([event, listener]);
          hear(event, listener);
        };
        methods[`off${event}`] = (listener: Listener) => {
          const known = listeners.findIndex((each) => each[0] === event && each[1] === listener);
          if (known >= 0) listeners.splice(known, 1);
          task[`off${event}`]?.(listener);
        };
      });
      return methods;
    },
  };
}

/** @internal */
export type AnyTask<T> = RequestTask<T> & UploadTask<T> & DownloadTask<T>;

/** @internal */
export function startTask<T>(work: (line: Line) => Promise<T>, callbacks: Callbacks<T> = {}): AnyTask<T> {
  const line = openLine();
  let methods;
  const promise = new Promise<T>((resolve, reject) => {
    methods = line.methods(reject);
    work(line).then(resolve, reject);
  });
  return settle(Object.assign(promise, methods) as AnyTask<T>, callbacks);
}

/** @internal */
export function settle<T, P extends Promise<T>>(promise: P, { success, fail, complete }: Callbacks<T>): P {
  if (success || fail || complete) {
    promise.then(
      (result) => {
        success?.(result);
        complete?.(result);
      },
      (error: WxgateError) => {
        fail?.(error);
        complete?.(error);
      },
    );
  }
  return promise;
}
