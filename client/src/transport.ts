/** The three ways to the host. One shape, so that the link above does not care which it has. */

import type { TransportKind } from "./api.js";
import type { Clock } from "./clock.js";
import type { Hello, ToClient, Welcome } from "./messages.js";

/** What a transport tells. After {@link Sink.down} it tells nothing more. */
export interface Sink {
  messages(list: ToClient[]): void;
  /** Both directions are seen to work. */
  ready(): void;
  /** The host was heard of. `stream`: on the way that deliveries take. */
  heard(stream: boolean): void;
  /** It does not work, or no longer. `unreachable`: HTTP did not get through, so no other HTTP transport will. */
  down(unreachable?: boolean): void;
  cursor(): string;
}

export interface Transport {
  /** Send messages, given as JSON texts, in order. */
  send(texts: string[]): void;
  /** Close it; `last` still goes out if it can. */
  close(last?: string[]): void;
}

export type OpenTransport = (kind: TransportKind, hello: Hello, sink: Sink) => Transport;

const FIRST_EVENT_MS = 1900;
const POLL_S = 20;

const pack = (texts: string[]): string => (texts.length === 1 ? texts[0]! : `[${texts.join(",")}]`);

/** Return what opens transports to the host at `base`, an absolute URL that ends with a slash. */
export function transports(base: string, clock: Clock): OpenTransport {
  return (kind, hello, sink) =>
    kind === "ws" ? openWebSocket(base, hello, sink) : new HttpTransport(base, clock, hello, sink, kind === "poll");
}

function openWebSocket(base: string, hello: Hello, sink: Sink): Transport {
  const socket = new WebSocket(`${base.replace(/^http/, "ws")}_hub/ws`);
  let welcomed = false;
  socket.onopen = () => socket.send(JSON.stringify(hello));
  socket.onmessage = (event) => {
    let list: ToClient[];
    try {
      list = [JSON.parse(event.data as string) as ToClient | ToClient[]].flat();
    } catch {
      return sink.down();
    }
    sink.heard(true);
    sink.messages(list);
    if (!welcomed && list.some((m) => m.t === "welcome")) {
      welcomed = true;
      sink.ready();
    }
  };
  socket.onclose = () => sink.down();
  return {
    send: (texts) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(pack(texts));
    },
    close: (last) => {
      if (last && socket.readyState === WebSocket.OPEN) socket.send(pack(last));
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

/**
 * Server-sent events and long-poll: a request to open, requests to send, and one that brings deliveries.
 *
 * Order of what is sent: at most one request with messages is under way, be it a send or a poll, so the host sees
 * calls in the order of their ids. A poll that carries messages therefore does not wait (`wait_s` 0).
 */
class HttpTransport implements Transport {
  private readonly abort = new AbortController();
  private queue: string[] = [];
  private carrying = false;
  private parked = false;
  private session: Pick<Welcome, "session" | "secret"> = { session: "", secret: "" };
  private pollS = POLL_S;

  constructor(
    private readonly base: string,
    private readonly clock: Clock,
    hello: Hello,
    private readonly sink: Sink,
    private readonly poll: boolean,
  ) {
    void this.run(hello);
  }

  send(texts: string[]): void {
    this.queue.push(...texts);
    // While a poll is about to go, it takes them along.
    if (!this.poll || this.parked) void this.pump();
  }

  close(last?: string[]): void {
    if (last && this.session.session) {
      void this.post("send", `"messages":[${[...this.queue, ...last].join(",")}]`, { keepalive: true }).catch(() => {});
    }
    this.abort.abort();
  }

  private async run(hello: Hello): Promise<void> {
    let welcome: Welcome | undefined;
    try {
      const list = await this.messages(
        await this.request("open", JSON.stringify(hello), { signal: this.abort.signal }),
      );
      welcome = list.find((m): m is Welcome => m.t === "welcome");
      if (welcome) {
        this.session = { session: welcome.session, secret: welcome.secret };
        // A parked poll must be shorter than the silence that counts as broken.
        this.pollS = Math.min(POLL_S, 2 * welcome.heartbeat_s);
      }
      this.take(list, true);
    } catch {
      return this.sink.down(true);
    }
    if (!welcome) return this.sink.down();
    try {
      await (this.poll ? this.polls() : this.events());
    } catch {
      // told below
    }
    this.sink.down();
  }

  private async polls(): Promise<never> {
    this.sink.ready();
    for (let first = true; ; first = false) {
      await null; // what was just delivered may cause messages: they go with this poll
      const texts = this.carrying ? [] : this.queue.splice(0);
      this.carrying ||= texts.length > 0;
      this.parked = !texts.length;
      const wait = first || texts.length ? 0 : this.pollS;
      const part = `"cursor":${JSON.stringify(this.sink.cursor())},"messages":[${texts.join(",")}],"wait_s":${wait}`;
      const list = await this.messages(await this.post("poll", part, { signal: this.abort.signal }));
      this.parked = false;
      if (texts.length) this.carrying = false;
      this.take(list, true);
    }
  }

  private async events(): Promise<void> {
    // An intermediary that collects whole responses shows no first event.
    const timer = this.clock.after(FIRST_EVENT_MS, () => {
      this.sink.down();
      this.abort.abort();
    });
    try {
      const response = await this.post("events", `"cursor":${JSON.stringify(this.sink.cursor())}`, {
        signal: this.abort.signal,
      });
      if (!response.headers.get("content-type")?.includes("event-stream")) {
        return this.take(await this.messages(response), true);
      }
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parse = eventParser();
      for (let first = true; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        this.sink.heard(true);
        for (const data of parse(value)) {
          if (first) {
            first = false;
            this.clock.cancel(timer);
            this.sink.ready();
          }
          this.take(JSON.parse(data) as ToClient[], true);
        }
      }
    } finally {
      this.clock.cancel(timer);
    }
  }

  private async pump(): Promise<void> {
    if (this.carrying) return;
    this.carrying = true;
    try {
      while (this.queue.length) {
        const part = `"messages":[${this.queue.splice(0).join(",")}]`;
        this.take(await this.messages(await this.post("send", part, { signal: this.abort.signal })), this.poll);
      }
    } catch {
      return this.sink.down();
    }
    this.carrying = false;
  }

  private take(list: ToClient[], stream: boolean): void {
    this.sink.heard(stream);
    this.sink.messages(list);
  }

  private post(path: string, part: string, init: RequestInit): Promise<Response> {
    return this.request(path, `${JSON.stringify(this.session).slice(0, -1)},${part}}`, init);
  }

  private request(path: string, body: string, init: RequestInit): Promise<Response> {
    return fetch(`${this.base}_hub/${path}`, {
      ...init,
      method: "POST",
      headers: { "content-type": "application/json" },
      cache: "no-store",
      credentials: "omit",
      body,
    });
  }

  /** A refusal too is a list of messages, whatever its status. */
  private async messages(response: Response): Promise<ToClient[]> {
    const list = (await response.json()) as ToClient[];
    if (!Array.isArray(list)) throw new TypeError("not a list of messages");
    return list;
  }
}

/** Return a parser of an event stream: feed it text as it comes, it returns the data of each finished event. */
export function eventParser(): (text: string) => string[] {
  let rest = "";
  let data: string[] = [];
  return (text) => {
    const found: string[] = [];
    // A carriage return at the very end may be half of a line end.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (!line && data.length) {
        found.push(data.join("\n"));
        data = [];
      }
    }
    return found;
  };
}
