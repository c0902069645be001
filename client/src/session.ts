/**
 * One session as its client sees it (sans-I/O).
 *
 * Theory of operation
 * ===================
 *
 * The session outlives connections. What it must not lose is kept here until the host has answered it:
 *
 *   calls    unanswered, by id. An id is used once and grows by one, so the host can tell a repeat from a new call; on
 *            every new connection all unanswered calls are repeated with their ids and none runs twice (PE4).
 *   watches  open, by id. They are sent again when the epoch changed (the host has forgotten them), and also when
 *            nothing has come back yet (the request may have died with the connection).
 *   seen     the last delivery taken in. Smaller or equal numbers are repeats and ignored; a larger one that does not
 *            follow means that something was lost on the way: the connection is resumed from `seen`.
 *
 *    PAUSED --welcomed, begin--> LIVE --pause--> PAUSED      connection comes and goes
 *    any    --lose-->            PAUSED without a host-side session; the next welcome starts a new one
 *    any    --finish-->          ENDED   final; everything unanswered is rejected
 *
 * `out` collects what is to be sent; `wake` asks whoever owns a transport to take it.
 */

import type { Args } from "./api.js";
import type { Clock, Timer } from "./clock.js";
import { HubbubError } from "./errors.js";
import {
  type CallMessage,
  type Delivery,
  type Failure,
  type Lagged,
  type MindCall,
  type Step,
  type ToHost,
  type Welcome,
  step,
  toError,
} from "./messages.js";
import { applyPatch, type PatchOp } from "./patch.js";

const ACK_MS = 500;
const ACK_DELIVERIES = 32;
const REPLIES_KEPT = 64;

interface Call {
  message: CallMessage;
  sent: boolean;
  cancelled: boolean;
  resolve(value: unknown): void;
  reject(error: HubbubError): void;
}

export interface Listener {
  answer(value: unknown, patch?: readonly PatchOp[]): void;
  gap?(reason: string): void;
  end(error?: HubbubError): void;
}

interface Watch {
  message: CallMessage;
  listener: Listener;
  opened: boolean;
  value: unknown;
}

/** What a reload needs to go on with the session. Stored by the tab, never shared. */
export interface Snapshot {
  session: string;
  secret: string;
  cursor: string;
  nextCall: number;
  nextWatch: number;
  calls: CallMessage[];
  watches: number[];
}

export interface SessionEvents {
  /** There is something in `out`. */
  wake(): void;
  mind(call: MindCall): unknown;
  gap(reason: string): void;
  fault(error: HubbubError): void;
}

export class Session {
  id = "";
  secret = "";
  identity = { id: "", name: "" };
  heartbeatMs = 15_000;
  maxBytes = Infinity;
  out: ToHost[] = [];
  live = false;

  private epoch = "";
  private seen = 0;
  private nextCall = 1;
  private nextWatch = 1;
  private calls = new Map<number, Call>();
  private watches = new Map<number, Watch>();
  /** Watches that the host may still hold open, though nobody here listens (closed, or of the page before a reload). */
  private stale = new Set<number>();
  private replies: ToHost[] = [];
  private reopen = false;
  /** Counts the epochs that began with a welcome: mind calls of one before are not answered. */
  private run = 0;
  private ended: HubbubError | undefined;
  private holeAt = -1;
  private unacked = 0;
  /** So many deliveries are acknowledged at once. */
  private ackAt = ACK_DELIVERIES;
  private acks = true;
  private ackTimer: Timer;

  constructor(
    private readonly clock: Clock,
    private readonly events: SessionEvents,
  ) {}

  get cursor(): string {
    return this.id && `${this.epoch}.${this.seen}`;
  }

  // --- what the application asks for ---------------------------------------------------------------------------------

  /** Run a command, query or action once. Kept and repeated until the host has answered. */
  call(target: readonly Step[], name: string, args?: Args, signal?: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.ended) return reject(this.ended);
      if (signal?.aborted) return reject(cancelled());
      const message: CallMessage = { t: "call", id: this.nextCall, ...(target.length && { target }), ...step(name, args) };
      if (byteLength(JSON.stringify(message)) > this.maxBytes) {
        return reject(new HubbubError("limit", "too_big", `the host takes at most ${this.maxBytes} bytes at once`));
      }
      this.nextCall++;
      const call: Call = { message, sent: false, cancelled: false, resolve, reject };
      this.calls.set(message.id, call);
      this.emit(message);
      signal?.addEventListener("abort", () => {
        if (this.calls.get(call.message.id) !== call) return;
        call.cancelled = true; // stays until the host has answered: its id is used up
        this.emit({ t: "cancel", id: call.message.id });
        reject(cancelled());
      });
    });
  }

  /** Keep a query, view or stream open. Returns what ends it. */
  watch(target: readonly Step[], name: string, args: Args | undefined, listener: Listener): () => void {
    const id = this.nextWatch++;
    const message: CallMessage = { t: "watch", id, ...(target.length && { target }), ...step(name, args) };
    if (this.ended) {
      listener.end(this.ended);
      return () => {};
    }
    this.watches.set(id, { message, listener, opened: false, value: undefined });
    this.emit(message);
    return () => {
      if (!this.watches.delete(id)) return;
      this.stale.add(id);
      this.emit({ t: "unwatch", id });
    };
  }

  // --- connection comes and goes -------------------------------------------------------------------------------------

  /** Take in the host's welcome. Nothing is sent before {@link begin}. */
  welcomed(m: Welcome): void {
    const [epoch, seq] = parseCursor(m.cursor);
    if (m.session !== this.id) this.renumber();
    if (m.session !== this.id || epoch !== this.epoch) {
      this.reopen = true;
      this.replies = []; // to calls that nobody waits for any more
      this.run++;
      this.seen = seq;
      this.holeAt = -1;
    }
    this.id = m.session;
    this.secret = m.secret;
    this.epoch = epoch;
    this.identity = { id: m.identity, name: m.name };
    this.heartbeatMs = m.heartbeat_s * 1000;
    this.maxBytes = m.max_bytes || Infinity;
  }

  /** A transport works: send what the host may not have. `acks`: whether deliveries are acknowledged by messages. */
  begin(acks: boolean): void {
    this.live = true;
    this.acks = acks;
    this.unacked = 0; // the resume told the cursor
    this.spreadAcks();
    this.out = [];
    for (const id of this.stale) if (!this.reopen) this.out.push({ t: "unwatch", id });
    this.stale.clear();
    for (const watch of this.watches.values()) {
      if (this.reopen) watch.opened = false;
      if (!watch.opened) this.out.push(watch.message);
    }
    this.reopen = false;
    this.out.push(...this.replies);
    this.repeatCalls();
    if (this.out.length) this.events.wake();
  }

  /** The connection is gone. Calls and watches wait for the next one. */
  pause(): void {
    this.live = false;
    this.out = [];
    this.clock.cancel(this.ackTimer);
    this.ackTimer = undefined;
  }

  /** The host no longer knows the session: the next hello logs in anew. */
  lose(): void {
    this.pause();
    this.renumber();
    this.id = this.secret = "";
  }

  /** End for good: everything unanswered is rejected with `error`, or because the user logged out. */
  finish(error?: HubbubError): void {
    this.pause();
    this.ended = error ?? new HubbubError("closed", "closed", "logged out");
    for (const call of this.calls.values()) call.reject(call.sent && error ? lost() : this.ended);
    const watches = [...this.watches.values()];
    this.calls.clear();
    this.watches.clear();
    for (const watch of watches) this.safely(() => watch.listener.end(error));
  }

  /** Return what is to be sent and forget it: calls in it count as sent from now on. */
  take(): ToHost[] {
    const out = this.out;
    this.out = [];
    for (const message of out) {
      if (message.t === "call") {
        const call = this.calls.get(message.id);
        if (call) call.sent = true;
      }
    }
    return out;
  }

  snapshot(): Snapshot {
    return {
      session: this.id,
      secret: this.secret,
      cursor: this.cursor,
      nextCall: this.nextCall,
      nextWatch: this.nextWatch,
      calls: [...this.calls.values()].map((call) => call.message),
      watches: [...this.watches.keys(), ...this.stale],
    };
  }

  /** Go on where a page before a reload stood. Its unanswered calls are repeated, its watches are ended. */
  restore(s: Snapshot): void {
    [this.epoch, this.seen] = parseCursor(s.cursor);
    this.id = s.session;
    this.secret = s.secret;
    this.nextCall = s.nextCall;
    this.nextWatch = s.nextWatch;
    this.stale = new Set(s.watches);
    const ignore = (): void => {};
    for (const message of s.calls) {
      this.calls.set(message.id, { message, sent: true, cancelled: false, resolve: ignore, reject: ignore });
    }
  }

  // --- what the host delivers ----------------------------------------------------------------------------------------

  /** Take in one message. Returns false if deliveries before it are missing: the caller must reconnect and resume. */
  receive(m: Delivery | Lagged): boolean {
    if (m.t === "lagged") {
      [this.epoch, this.seen] = parseCursor(m.cursor);
      this.unacked = 0;
      this.out = this.out.filter((message) => message.t !== "ack"); // of the numbering before
      this.repeatCalls();
      this.events.wake();
      return true;
    }
    if (m.n <= this.seen) return true;
    if (m.n > this.seen + 1 && this.holeAt !== this.seen) {
      this.holeAt = this.seen; // once: if the host has nothing to fill it with, it goes on
      return false;
    }
    this.seen = m.n;
    this.unacked++;
    this.deliver(m);
    this.acknowledge();
    return true;
  }

  private deliver(m: Delivery): void {
    switch (m.t) {
      case "result": {
        const call = this.calls.get(m.id);
        this.calls.delete(m.id);
        if (m.error) call?.reject(toError(m.error));
        else call?.resolve(m.value ?? null);
        break;
      }
      case "mind":
        this.mind(m);
        break;
      case "gap":
        if (!m.id) this.safely(() => this.events.gap(m.reason ?? ""));
        else this.withWatch(m.id, (watch) => watch.listener.gap?.(m.reason ?? ""));
        break;
      case "end":
        this.withWatch(m.id, (watch) => {
          this.watches.delete(m.id);
          watch.listener.end(m.error && toError(m.error));
        });
        this.stale.delete(m.id);
        break;
      case "item":
        this.withWatch(m.id, (watch) => watch.listener.answer(m.value ?? null));
        break;
      case "answer":
        this.withWatch(m.id, (watch) => {
          try {
            watch.value = m.patch ? applyPatch(watch.value, m.patch) : (m.value ?? null);
          } catch {
            // The two sides disagree about the answer before: only a whole one helps.
            watch.value = undefined;
            watch.opened = false;
            this.emit({ t: "unwatch", id: m.id });
            this.emit(watch.message);
            return;
          }
          watch.listener.answer(watch.value, m.patch);
        });
        break;
    }
  }

  private withWatch(id: number, use: (watch: Watch) => void): void {
    const watch = this.watches.get(id);
    if (!watch) return;
    watch.opened = true;
    this.safely(() => use(watch));
  }

  private mind(m: MindCall): void {
    const run = this.run;
    const reply = (part: { value?: unknown; error?: Failure }): void => {
      if (!m.id || run !== this.run) return;
      const message: ToHost = { t: "reply", id: m.id, ...part };
      // A reply may die with its connection, and nothing acknowledges it: the last ones are repeated.
      this.replies.push(message);
      if (this.replies.length > REPLIES_KEPT) this.replies.shift();
      this.emit(message);
    };
    Promise.resolve()
      .then(() => this.events.mind(m))
      .then(
        (value) => reply({ value: value ?? null }),
        (error: unknown) => {
          if (error instanceof HubbubError) {
            const { kind, code, message } = error;
            reply({ error: { kind, code, message } });
          } else {
            reply({ error: { kind: "internal", code: "internal" } });
            this.clock.report(error);
          }
        },
      );
  }

  // --- inside --------------------------------------------------------------------------------------------------------

  private emit(message: ToHost): void {
    if (!this.live) return; // begin() sends it
    this.out.push(message);
    this.events.wake();
  }

  private repeatCalls(): void {
    const waiting = new Set<ToHost>(this.out);
    for (const { message, cancelled } of this.calls.values()) {
      if (!waiting.has(message)) this.out.push(message);
      if (cancelled) this.out.push({ t: "cancel", id: message.id });
    }
  }

  /** A new session counts from one. Calls that no host has seen move there; the fate of the others is unknown. */
  private renumber(): void {
    const calls = [...this.calls.values()];
    this.calls.clear();
    this.stale.clear();
    this.replies = [];
    this.nextCall = 1;
    for (const call of calls) {
      if (call.sent) call.reject(lost());
      else if (!call.cancelled) {
        call.message = { ...call.message, id: this.nextCall++ };
        this.calls.set(call.message.id, call);
      }
    }
  }

  private acknowledge(): void {
    if (!this.acks || !this.live) return;
    if (this.unacked >= this.ackAt) this.ackNow();
    else
      this.ackTimer ??= this.clock.after(ACK_MS, () => {
        this.ackNow();
        this.spreadAcks();
      });
  }

  /**
   * Pages that get the same deliveries begin together, when their host has started again, and their timers end together:
   * each counts from another point, so that the host does not hear from all of them at once.
   */
  private spreadAcks(): void {
    this.ackAt = 1 + Math.floor(this.clock.random() * ACK_DELIVERIES);
  }

  private ackNow(): void {
    this.clock.cancel(this.ackTimer);
    this.ackTimer = undefined;
    if (!this.unacked) return;
    this.unacked = 0;
    this.ackAt = ACK_DELIVERIES;
    this.emit({ t: "ack", cursor: this.cursor });
  }

  private safely(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.clock.report(error);
    }
  }
}

function parseCursor(text: string): [string, number] {
  const dot = text.lastIndexOf(".");
  return [text.slice(0, dot), +text.slice(dot + 1)];
}

export const byteLength = (text: string): number => new TextEncoder().encode(text).length;
const cancelled = (): HubbubError => new HubbubError("closed", "cancelled", "the call was cancelled");
const lost = (): HubbubError =>
  new HubbubError("outcome_unknown", "session_lost", "the session was lost: it may have happened or not");
