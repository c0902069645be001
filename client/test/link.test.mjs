import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeLink, result, welcome } from "./fakes.mjs";

const kinds = (opened) => opened.map((t) => t.kind);

test("GW1: without a memory ws, sse and poll are tried in turn, poll within five seconds", () => {
  const { link, clock, opened, newest, goLive, seen } = fakeLink();
  link.start();
  clock.advance(2500);
  assert.deepEqual(kinds(opened), ["ws", "sse"]);
  assert.equal(opened[0].closed, true);
  newest().sink.messages([welcome()]);
  newest().sink.down();
  assert.deepEqual(kinds(opened), ["ws", "sse", "poll"]);
  assert.deepEqual([newest().hello.session, newest().hello.cursor], ["s1", "e1.0"], "the session is kept");
  goLive({ resumed: true });
  assert.deepEqual(seen.states, ["live"]);
  assert.deepEqual(seen.memory, { kind: "poll", at: 0 });
});

test("where HTTP does not get through either, the attempt is over and the next one waits", () => {
  const { link, clock, opened, newest, seen } = fakeLink();
  link.start();
  newest().sink.down();
  newest().sink.down(true);
  assert.deepEqual(kinds(opened), ["ws", "sse"]);
  clock.advance(249);
  assert.equal(opened.length, 2);
  clock.advance(300);
  assert.equal(newest().kind, "ws");
  assert.deepEqual(seen.states, []);
});

test("a fresh memory goes first, alone; the whole order follows; an old memory counts for nothing", () => {
  const a = fakeLink({ memory: { kind: "poll", at: 0 }, wall: 1000 });
  a.link.start();
  a.newest().sink.down(true);
  a.clock.advance(1000);
  assert.deepEqual(kinds(a.opened), ["poll", "ws"]);
  const b = fakeLink({ memory: { kind: "poll", at: 0 }, wall: 10 * 60_000 });
  b.link.start();
  assert.deepEqual(kinds(b.opened), ["ws"]);
  const c = fakeLink({ memory: { kind: "poll", at: 5 }, wall: 60_000 });
  c.link.start();
  c.goLive();
  assert.equal(c.seen.memory.at, 5, "using a memory does not refresh it");
});

test("a broken connection is resumed with session, secret and cursor", () => {
  const { link, session, clock, opened, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  session.call([], "a");
  clock.settle();
  newest().sink.messages([result(1, 1)]);
  newest().sink.down();
  assert.deepEqual(seen.states, ["live", "reconnecting"]);
  session.call([], "b");
  clock.advance(600);
  assert.deepEqual(kinds(opened), ["ws", "ws"]);
  assert.deepEqual(newest().hello, { t: "hello", mind: true, session: "s1", secret: "x", cursor: "e1.1" });
  goLive({ resumed: true, cursor: "e1.1" });
  assert.deepEqual(newest().sent, [{ t: "call", id: 2, name: "b" }]);
});

test("what is sent in one turn leaves together, but never more than the host takes at once", () => {
  const { link, session, clock, newest, goLive } = fakeLink();
  link.start();
  goLive();
  for (let i = 0; i < 3; i++) session.call([], "say", { text: "x".repeat(10) });
  clock.settle();
  assert.equal(newest().batches.length, 1);
  for (let i = 0; i < 3; i++) session.call([], "say", { text: "x".repeat(4000) });
  clock.settle();
  assert.deepEqual(newest().batches.slice(1).map((b) => b.length), [2, 1]);
  assert.deepEqual(newest().sent.map((m) => m.id), [1, 2, 3, 4, 5, 6]);
});

test("what a reload needs is saved before anything leaves", () => {
  const { link, session, clock, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  const before = seen.saves;
  const batches = newest().batches;
  batches.push = (...args) => {
    assert.equal(seen.saves, before + 1);
    return Array.prototype.push.apply(batches, args);
  };
  session.call([], "a");
  clock.settle();
  assert.equal(batches.length, 1);
});

test("back-off grows to five seconds, is spread, and starts afresh after a connection that lasted", () => {
  const { link, clock, opened, newest, goLive } = fakeLink({ transports: ["ws"] });
  link.start();
  const pauses = [];
  for (let i = 0; i < 8; i++) {
    const at = clock.time;
    newest().sink.down();
    const count = opened.length;
    while (opened.length === count) clock.advance(1);
    pauses.push(clock.time - at);
  }
  assert.ok(pauses.every((p, i) => p >= 250 && p <= 5000 && (!i || p >= pauses[i - 1])), String(pauses));
  assert.equal(pauses.at(-1), 2625); // in the middle: half of the chance
  goLive();
  clock.advance(9000);
  newest().sink.heard(true);
  clock.advance(9000);
  newest().sink.down();
  const count = opened.length;
  clock.advance(400);
  assert.equal(opened.length, count + 1);
});

test("the network or the user coming back tries at once", () => {
  const { link, clock, opened, newest, goLive } = fakeLink();
  link.start();
  goLive();
  newest().sink.down();
  link.nudge(false);
  assert.equal(opened.length, 2);
  goLive({ resumed: true });
  link.nudge(true);
  assert.deepEqual(newest().sent, [{ t: "ping" }]);
  clock.advance(2000);
  newest().sink.heard(false);
  clock.advance(2000);
  assert.equal(link.state, "live");
  link.nudge(true);
  clock.advance(3000);
  assert.equal(link.state, "reconnecting", "no answer to the probe");
});

test("the heartbeat: a ping when nothing was sent, broken after two and a half of silence", () => {
  const { link, clock, newest, goLive } = fakeLink();
  link.start();
  goLive();
  clock.advance(10_000);
  assert.deepEqual(newest().sent, [{ t: "ping" }]);
  newest().sink.heard(true);
  clock.advance(24_000);
  assert.equal(link.state, "live");
  clock.advance(4000);
  assert.equal(link.state, "reconnecting");
});

test("what arrives drives the heartbeat where timers are slowed down", () => {
  const { link, clock, newest, goLive } = fakeLink();
  link.start();
  goLive();
  clock.time += 9000; // no timer has run
  newest().sink.heard(true);
  assert.deepEqual(newest().sent, [{ t: "ping" }]);
});

test("a parked poll needs no ping", () => {
  const { link, clock, newest, goLive } = fakeLink({ transports: ["poll"] });
  link.start();
  goLive();
  clock.advance(20_000);
  assert.deepEqual(newest().sent, []);
});

test("a closing host is met again after the time that it names", () => {
  const { link, clock, opened, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  newest().sink.messages([{ t: "closing", reason: "drain", retry_s: 4 }]);
  assert.deepEqual(seen.states, ["live", "reconnecting"]);
  clock.advance(3999);
  assert.equal(opened.length, 1);
  clock.advance(1001);
  assert.equal(opened.length, 2);
});

test("replaced or ended by the host is the end, not a tug-of-war", async () => {
  const { link, session, clock, opened, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  const call = session.call([], "a");
  clock.settle();
  newest().sink.messages([{ t: "closing", reason: "replaced" }]);
  clock.advance(60_000);
  assert.equal(opened.length, 1);
  assert.equal(link.state, "ended");
  assert.equal(seen.ended.code, "replaced");
  await assert.rejects(call, (e) => e.kind === "outcome_unknown");
});

test("a refused login is the end", () => {
  for (const kind of ["login_failed", "not_allowed", "limit"]) {
    const { link, newest, clock, opened, seen } = fakeLink();
    link.start();
    newest().sink.messages([{ t: "fault", kind, code: "no" }]);
    clock.advance(60_000);
    assert.equal(opened.length, 1);
    assert.equal(seen.ended.kind, kind);
  }
});

test("a lost session logs in anew with the same credentials, at once, on the same transport", async () => {
  const { link, session, clock, opened, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  const call = session.call([], "a");
  clock.settle();
  newest().sink.down();
  clock.advance(600);
  newest().sink.messages([{ t: "fault", kind: "closed", code: "session_lost" }]);
  await assert.rejects(call, (e) => e.kind === "outcome_unknown");
  assert.deepEqual(kinds(opened), ["ws", "ws", "ws"]);
  assert.deepEqual(newest().hello, { t: "hello", mind: true, credentials: { name: "ann" } });
  goLive({ session: "s2", cursor: "f.0" });
  assert.deepEqual(seen.states, ["live", "reconnecting", "live"]);
  assert.deepEqual(seen.faults.map((e) => e.code), ["session_lost"]);
});

test("a fault that comes back with every repeat ends the session instead of going round for ever", () => {
  const { link, opened, newest, goLive, seen } = fakeLink({ transports: ["ws"] });
  link.start();
  for (let i = 0; i < 4; i++) {
    goLive();
    newest().sink.messages([{ t: "fault", kind: "invalid", code: "garbled" }]);
    link.nudge(false);
  }
  assert.equal(seen.ended.code, "garbled");
  assert.equal(opened.length, 4);
});

test("a hole in the deliveries reconnects from the cursor", () => {
  const { link, clock, newest, goLive } = fakeLink();
  link.start();
  goLive();
  newest().sink.messages([result(1, 1), result(3, 3)]);
  assert.equal(link.state, "reconnecting");
  clock.advance(600);
  assert.equal(newest().hello.cursor, "e1.1");
});

test("nothing that a dropped transport still says is heard", () => {
  const { link, clock, opened, newest, goLive, session } = fakeLink();
  link.start();
  clock.advance(2500);
  goLive();
  opened[0].sink.messages([result(1, 1)]);
  opened[0].sink.down();
  assert.equal(link.state, "live");
  assert.equal(session.cursor, "e1.0");
  assert.equal(newest().kind, "sse");
});

test("logging out says bye after what was still to be sent", async () => {
  const { link, session, newest, goLive, seen } = fakeLink();
  link.start();
  goLive();
  const call = session.call([], "a");
  link.close();
  assert.deepEqual(newest().sent.map((m) => m.t), ["call"]);
  assert.deepEqual(newest().last, ['{"t":"bye"}']);
  assert.equal(seen.ended, "closed");
  await assert.rejects(call, (e) => e.kind === "closed");
});

test("a transport that the page's policy forbids is passed over", () => {
  const { link, opened, newest } = fakeLink();
  const push = opened.push;
  opened.push = function (t) {
    if (t.kind === "ws") throw new Error("SecurityError");
    return push.call(this, t);
  };
  link.start();
  assert.equal(newest().kind, "sse");
});
