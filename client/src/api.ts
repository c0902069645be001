/** What an application sees: the names and their types. */

import type { HubbubError } from "./errors.js";
import type { PatchOp } from "./patch.js";

/** `connecting`: never was live; `reconnecting`: was, and calls are kept; `ended`: logged out or turned away. */
export type State = "connecting" | "live" | "reconnecting" | "ended";
export type TransportKind = "ws" | "sse" | "poll";

/** An object goes as keyword arguments, an array as positional ones. */
export type Args = Record<string, unknown> | readonly unknown[];

export interface ConnectOptions {
  /** The name to be known by. */
  name?: string;
  password?: string;
  /** Which checker the credentials are for; left out: the first that fits. */
  checker?: string;
  /** Which transports to try, in this order. Left out: ws, sse, poll. */
  transports?: readonly TransportKind[];
  /** Methods that the host may call. `hub.mind.on` adds more. */
  mind?: object;
  /** Prefix of what is kept in the browser's storage; give two hubs of one page different ones. */
  storageKey?: string;
  /** Hears of the state also before `connect` has returned. */
  onState?: (state: State) => void;
}

export interface WatchOptions {
  /** The watch has failed, or a right was taken back. It has ended. */
  onError?: (error: HubbubError) => void;
  /** It has ended, with or without an error; not called after `close()`. */
  onEnd?: () => void;
}

export interface StreamOptions extends WatchOptions {
  /** Something is missing here, and why: `restart`, `lag`. */
  onGap?: (reason: string) => void;
}

export interface Watching {
  close(): void;
}

/** `patch`: how the value differs from the one before, if it came so. The value is whole either way; do not change it. */
export type OnAnswer<T = any> = (value: T, patch?: readonly PatchOp[]) => void;
export type OnItem<T = any> = (item: T) => void;

/** The user's avatar, or an object that it hands out. */
export interface Target {
  /** An object that the query or view `name` hands out. Nothing is sent before it is used. */
  ref(name: string, args?: Args): Target;
  /**
   * Run a command, query or action, once, whatever happens to the connection.
   *
   * @returns its result, when it is durable.
   * @throws HubbubError as the host refused it; `outcome_unknown` if the session was lost on the way.
   */
  call<T = any>(name: string, args?: Args, options?: { signal?: AbortSignal }): Promise<T>;
  /** Hear the newest answer of a query or view now and whenever it changes. Intermediate ones may be skipped. */
  watch<T>(name: string, callback: OnAnswer<T>, options?: WatchOptions): Watching;
  watch<T>(name: string, args: Args | undefined, callback: OnAnswer<T>, options?: WatchOptions): Watching;
  /** Hear every item of a stream from now on; where some are missing, `onGap` says so. */
  stream<T>(name: string, callback: OnItem<T>, options?: StreamOptions): Watching;
  stream<T>(name: string, args: Args | undefined, callback: OnItem<T>, options?: StreamOptions): Watching;
}

/** What the host may call. */
export interface Mind {
  /**
   * Answer the host's calls of `method`. Positional arguments come as they are, keyword arguments as one object after
   * them. What `handler` returns, or the promise of it, goes back if the host waits for it.
   *
   * @returns what takes the handler away again.
   */
  on(method: string, handler: (...args: any[]) => unknown): () => void;
}

export interface HubEvents {
  state: (state: State) => void;
  /** Something went wrong that no call or watch can tell: a lost session, being replaced, an unheard failure. */
  fault: (error: HubbubError) => void;
  /** Calls of the mind are missing here. */
  gap: (reason: string) => void;
}

export interface Hub extends Target {
  readonly state: State;
  /** The transport in use, or last used. */
  readonly transport: TransportKind;
  /** Whom the host takes us for. */
  readonly identity: { readonly id: string; readonly name: string };
  readonly mind: Mind;
  on<E extends keyof HubEvents>(event: E, handler: HubEvents[E]): () => void;
  /** Log out. Unanswered calls are rejected. */
  close(): void;
}
