// Time, transports and a session to test with: no socket, no sleep.
import { Link, Session } from "../build/internals.mjs";

export class FakeClock {
  time = 0;
  reported = [];
  #timers = new Set();
  #soon = [];

  now = () => this.time;
  random = () => 0.5;
  soon = (run) => this.#soon.push(run);
  report = (error) => this.reported.push(error);
  after(ms, run) {
    const timer = { at: this.time + ms, run };
    this.#timers.add(timer);
    return timer;
  }
  cancel(timer) {
    this.#timers.delete(timer);
  }
  /** Let what waits for the end of this turn run. */
  settle() {
    while (this.#soon.length) this.#soon.shift()();
  }
  /** Let `ms` go by; timers run at their time, in order. */
  advance(ms) {
    this.settle();
    const until = this.time + ms;
    for (;;) {
      const next = [...this.#timers].filter((t) => t.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.time = next.at;
      next.run();
      this.settle();
    }
    this.time = until;
  }
}

export const welcome = (more = {}) => ({
  t: "welcome", session: "s1", secret: "x", cursor: "e1.0", resumed: false,
  identity: "anon:1", name: "ann", heartbeat_s: 10, grace_s: 60, max_bytes: 10_000, ...more,
});

export const result = (n, id, value) => ({ t: "result", n, id, value });

/** A session that is live, with what it sent collected by `sent()`. */
export function liveSession({ acks = true, random = 0.99 } = {}) {
  const clock = new FakeClock();
  clock.random = () => random;
  const told = { mind: [], gaps: [], faults: [] };
  const session = new Session(clock, {
    wake() {},
    mind: (m) => (told.mind.push(m), told.answer?.(m)),
    gap: (reason) => told.gaps.push(reason),
    fault: (error) => told.faults.push(error),
  });
  session.welcomed(welcome());
  session.begin(acks);
  return { clock, session, told, sent: () => session.take() };
}

/** A link over fake transports: `opened` lists them, each with its sink, what was sent and whether it was closed. */
export function fakeLink({ transports = ["ws", "sse", "poll"], memory, wall = 0 } = {}) {
  const clock = new FakeClock();
  const seen = { states: [], faults: [], ended: undefined, saves: 0, memory, wall };
  const session = new Session(clock, { wake: () => link.wake(), mind() {}, gap() {}, fault() {} });
  const opened = [];
  const open = (kind, hello, sink) => {
    const transport = { kind, hello, sink, sent: [], batches: [], closed: false, last: undefined };
    opened.push(transport);
    return {
      send: (texts) => {
        transport.batches.push(texts);
        transport.sent.push(...texts.map((text) => JSON.parse(text)));
      },
      close: (last) => Object.assign(transport, { closed: true, last }),
    };
  };
  const link = new Link(session, clock, open, { credentials: { name: "ann" }, checker: "", transports }, {
    state: (state) => seen.states.push(state),
    fault: (error) => seen.faults.push(error),
    ended: (error) => (seen.ended = error ?? "closed"),
    save: (keep) => (seen.saves += keep ? 1 : 0),
    recall: () => seen.memory,
    remember: (memory) => (seen.memory = memory),
    wallClock: () => seen.wall,
  });
  const newest = () => opened.at(-1);
  const goLive = (more) => {
    newest().sink.messages([welcome(more)]);
    newest().sink.ready();
    clock.settle();
  };
  return { clock, session, link, opened, seen, newest, goLive };
}
