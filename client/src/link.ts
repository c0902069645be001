/**
 * The link: finds a transport that works, keeps it alive, and finds another when it breaks (sans-I/O).
 *
 * Theory of operation
 * ===================
 *
 *   connecting    --transport ready, welcomed-->  live
 *   live          --broken, silent, closing-->    reconnecting   back-off, then an attempt
 *   reconnecting  --ready, welcomed-->            live
 *   any           --close, refused, replaced-->   ended          final
 *
 * An attempt goes through an order of transports. Without a memory that is ws, sse, poll; a fresh memory of what worked
 * goes first alone, and the whole order follows if that fails too. The memory is of when the whole order was last tried,
 * not of when its outcome was last used: so WebSocket gets another chance after a few minutes.
 *
 * A fault `session_lost` costs no attempt: the same transport logs in anew at once.
 */

import type { State, TransportKind } from "./api.js";
import type { Clock, Timer } from "./clock.js";
import { HubbubError } from "./errors.js";
import { type Fault, type Hello, type ToClient, toError } from "./messages.js";
import { type Session, byteLength } from "./session.js";
import type { OpenTransport, Sink, Transport } from "./transport.js";

/** What worked, and when (milliseconds of the wall clock) it was found out. */
export interface Memory {
  kind: TransportKind;
  at: number;
}

export interface LinkOptions {
  credentials: Record<string, string>;
  checker: string;
  transports: readonly TransportKind[];
}

export interface LinkEvents {
  state(state: State): void;
  fault(error: HubbubError): void;
  /** It is over: logged out, or because of `error`. */
  ended(error?: HubbubError): void;
  /** Keep (or with `false` forget) what a reload needs. Called before anything is sent. */
  save(keep: boolean): void;
  recall(): Memory | undefined;
  remember(memory: Memory): void;
  wallClock(): number;
}

const WS_MS = 2200;
const HTTP_MS = 8000;
const BACKOFF_MS = 250;
const BACKOFF_MAX_MS = 5000;
const MEMORY_MS = 180_000;
const STABLE_MS = 10_000;
const PROBE_MS = 3000;
const FAULTS = 3;
/** An envelope (session, secret, cursor) goes around messages sent over HTTP. */
const ENVELOPE_BYTES = 1024;

export class Link {
  state: State = "connecting";
  kind: TransportKind | undefined;

  private transport: Transport | undefined;
  /** Attempts since it was live: chooses the order of transports. */
  private tries = 0;
  /** Attempts since it was live for a while: chooses the pause. */
  private attempts = 0;
  private faults = 0;
  private closingMs = 0;
  private liveSince = 0;
  private heardAt = 0;
  private sentAt = 0;
  private flushing = false;
  private retry: Timer;
  private limit: Timer;
  private beat: Timer;
  private probing: Timer;

  constructor(
    private readonly session: Session,
    private readonly clock: Clock,
    private readonly open: OpenTransport,
    private readonly options: LinkOptions,
    private readonly events: LinkEvents,
  ) {}

  start(): void {
    this.attempt();
  }

  /** Send what the session has, together with whatever else this turn of the loop brings. */
  wake(): void {
    if (this.flushing) return;
    this.flushing = true;
    this.clock.soon(() => {
      this.flushing = false;
      this.flush();
    });
  }

  /** The network or the user came back: try at once instead of waiting; `doubt`: and see whether a live one still is. */
  nudge(doubt: boolean): void {
    if (this.retry !== undefined) this.attempt();
    else if (this.state === "live" && (doubt || this.clock.now() - this.heardAt > PROBE_MS)) {
      this.ping();
      this.probing ??= this.clock.after(PROBE_MS, () => this.broken());
    }
  }

  /** Log out. */
  close(): void {
    if (this.state === "ended") return;
    this.flush();
    this.end(undefined, ['{"t":"bye"}']);
  }

  // --- attempts ------------------------------------------------------------------------------------------------------

  private attempt(): void {
    this.clock.cancel(this.retry);
    this.retry = undefined;
    const known = this.events.recall();
    const fresh =
      known && this.options.transports.includes(known.kind) && this.events.wallClock() - known.at < MEMORY_MS;
    this.attempts++;
    this.tryNext(this.tries++ === 0 && fresh ? [known.kind] : this.options.transports, 0);
  }

  private tryNext(order: readonly TransportKind[], at: number): void {
    const kind = order[at];
    if (!kind) return this.wait();
    this.drop();
    let dead = false;
    const next = (unreachable?: boolean): void => {
      this.session.pause();
      this.tryNext(order, unreachable ? order.length : at + 1);
    };
    const guard = (run: () => void): void => {
      if (!dead) run();
    };
    const ready = (): void => {
      this.kind = kind;
      if (order.length > 1 || this.options.transports.length === 1) {
        this.events.remember({ kind, at: this.events.wallClock() });
      }
      this.begin();
    };
    const sink: Sink = {
      messages: (list) => {
        for (const m of list) {
          if (dead) return;
          if (m.t === "fault") this.fault(m, () => this.tryNext(order, at));
          else this.take(m);
        }
      },
      ready: () => guard(ready),
      heard: (stream) => guard(() => this.heard(stream)),
      down: (unreachable) =>
        guard(() => {
          if (this.state === "live") this.broken();
          else next(unreachable);
        }),
      cursor: () => this.session.cursor,
    };
    let transport: Transport;
    try {
      transport = this.open(kind, this.hello(), sink);
    } catch {
      return next(); // such as WebSocket forbidden by the page's policy
    }
    this.transport = {
      send: (texts) => transport.send(texts),
      close: (last) => {
        dead = true;
        transport.close(last);
      },
    };
    this.limit = this.clock.after(kind === "ws" ? WS_MS : HTTP_MS, next);
  }

  private hello(): Hello {
    const { id, secret, cursor } = this.session;
    if (id) return { t: "hello", mind: true, session: id, secret, cursor };
    const { checker, credentials } = this.options;
    return { t: "hello", mind: true, ...(checker && { checker }), credentials };
  }

  private begin(): void {
    this.clock.cancel(this.limit);
    this.tries = 0;
    this.liveSince = this.heardAt = this.sentAt = this.clock.now();
    this.session.begin(this.kind !== "poll");
    this.events.save(true);
    this.heartbeat();
    this.setState("live");
  }

  /** Let go of the transport; nothing that it still says is heard. */
  private drop(last?: string[]): void {
    for (const timer of [this.limit, this.beat, this.probing]) this.clock.cancel(timer);
    this.probing = undefined;
    this.session.pause();
    this.transport?.close(last);
    this.transport = undefined;
  }

  private broken(): void {
    if (this.state === "live" && this.clock.now() - this.liveSince > STABLE_MS) this.attempts = this.faults = 0;
    this.wait();
  }

  private wait(): void {
    this.drop();
    // Spread: thousands of clients lose a host at the same time.
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** Math.min(this.attempts, 8));
    const pause = BACKOFF_MS + this.clock.random() * (most - BACKOFF_MS);
    const announced = this.closingMs * (1 + this.clock.random() / 4);
    this.closingMs = 0;
    this.clock.cancel(this.retry);
    this.retry = this.clock.after(announced || pause, () => this.attempt());
    if (this.state === "live") this.setState("reconnecting");
  }

  // --- messages ------------------------------------------------------------------------------------------------------

  private take(m: Exclude<ToClient, Fault>): void {
    switch (m.t) {
      case "pong":
        break;
      case "welcome":
        this.session.welcomed(m);
        break;
      case "closing":
        if (m.reason === "replaced" || m.reason === "ended") {
          this.end(new HubbubError("closed", m.reason, `the host ended the session: ${m.reason}`));
        } else {
          this.closingMs = (m.retry_s ?? 0.5) * 1000;
          this.broken();
        }
        break;
      default:
        if (!this.session.receive(m)) this.broken();
    }
  }

  private fault(m: Fault, again: () => void): void {
    const error = toError(m);
    const first = this.state === "connecting";
    if (m.code === "session_lost" && this.session.id) {
      this.drop();
      this.session.lose();
      this.events.save(false);
      if (this.state === "live") this.setState("reconnecting");
      if (!first) this.events.fault(error);
      return again();
    }
    const temporary = m.kind === "closed" || m.kind === "internal" || m.kind === "disk_full";
    const refused = m.kind === "login_failed" || m.kind === "not_allowed";
    // What faults again and again on the same unanswered call would do so for ever.
    if (refused || (first && !temporary) || (m.kind !== "closed" && ++this.faults > FAULTS)) return this.end(error);
    this.events.fault(error);
    this.broken();
  }

  private flush(): void {
    if (this.state !== "live" || !this.session.out.length) return;
    const messages = this.session.take();
    this.events.save(true);
    let texts: string[] = [];
    let bytes = ENVELOPE_BYTES;
    for (const message of messages) {
      const text = JSON.stringify(message);
      const size = byteLength(text) + 1;
      if (texts.length && bytes + size > this.session.maxBytes) {
        this.transport?.send(texts);
        texts = [];
        bytes = ENVELOPE_BYTES;
      }
      texts.push(text);
      bytes += size;
    }
    this.transport?.send(texts);
    this.sentAt = this.clock.now();
  }

  // --- alive? --------------------------------------------------------------------------------------------------------

  private heard(stream: boolean): void {
    this.clock.cancel(this.probing);
    this.probing = undefined;
    if (!stream) return;
    this.heardAt = this.clock.now();
    // Browsers slow the timers of a hidden tab down, but not what arrives: the host's heartbeat drives ours.
    if (this.state === "live") this.keepAlive();
  }

  private heartbeat(): void {
    this.beat = this.clock.after(this.session.heartbeatMs / 4, () => {
      if (this.clock.now() - this.heardAt > 2.5 * this.session.heartbeatMs) return this.broken();
      this.keepAlive();
      this.heartbeat();
    });
  }

  private keepAlive(): void {
    // A parked poll is a sign of life by itself.
    if (this.kind !== "poll" && this.clock.now() - this.sentAt >= 0.75 * this.session.heartbeatMs) this.ping();
  }

  private ping(): void {
    this.sentAt = this.clock.now();
    this.transport?.send(['{"t":"ping"}']);
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  private end(error?: HubbubError, last?: string[]): void {
    this.clock.cancel(this.retry);
    this.retry = undefined;
    this.drop(last);
    this.events.save(false);
    this.setState("ended");
    this.session.finish(error);
    this.events.ended(error);
  }

  private setState(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.events.state(state);
  }
}
