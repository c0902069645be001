import assert from "node:assert/strict";
import { test } from "node:test";
import { HubbubError } from "../build/internals.mjs";
import { liveSession, result, welcome } from "./fakes.mjs";

const reconnect = (session, more) => {
  session.pause();
  session.welcomed(welcome({ resumed: true, ...more }));
  session.begin(true);
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("PE4: ids grow by one, arguments go as kwargs or args, references as steps", async () => {
  const { session, sent } = liveSession();
  const first = session.call([], "say", { text: "hi" });
  session.call([{ name: "board", kwargs: { name: "x" } }], "draw", [1, 2]);
  assert.deepEqual(sent(), [
    { t: "call", id: 1, name: "say", kwargs: { text: "hi" } },
    { t: "call", id: 2, target: [{ name: "board", kwargs: { name: "x" } }], name: "draw", args: [1, 2] },
  ]);
  session.receive(result(1, 1, "ok"));
  assert.equal(await first, "ok");
});

test("PE4: an error crosses as it is", async () => {
  const { session } = liveSession();
  const call = session.call([], "say");
  session.receive({ t: "result", n: 1, id: 1, error: { kind: "internal", code: "internal", incident: "i7" } });
  await assert.rejects(call, (e) => e instanceof HubbubError && e.kind === "internal" && e.incident === "i7");
});

test("PE4: unanswered calls are repeated with their ids on a new epoch, the same epoch, and after lagged", async () => {
  for (const again of [
    (s) => reconnect(s, { cursor: "e2.0" }),
    (s) => reconnect(s, { cursor: "e1.1" }),
    (s) => s.receive({ t: "lagged", cursor: "e2.0" }),
  ]) {
    const { session, sent } = liveSession();
    const done = session.call([], "a");
    const waiting = session.call([], "b");
    sent();
    session.receive(result(1, 1));
    await done;
    again(session);
    assert.deepEqual(sent().filter((m) => m.t === "call"), [{ t: "call", id: 2, name: "b" }]);
    const n = session.cursor === "e1.1" ? 2 : 1;
    session.receive(result(n, 2, "once"));
    assert.equal(await waiting, "once");
  }
});

test("PE6: deliveries already seen are ignored on a resumed session", () => {
  const { session } = liveSession();
  const items = [];
  session.watch([], "lines", undefined, { answer: (v) => items.push(v), end() {} });
  for (const n of [1, 2]) session.receive({ t: "item", n, id: 1, value: n });
  reconnect(session, { cursor: "e1.1" });
  for (const n of [1, 2, 3]) session.receive({ t: "item", n, id: 1, value: n });
  assert.deepEqual(items, [1, 2, 3]);
  assert.equal(session.cursor, "e1.3");
});

test("PE5: a hole is never silent: it asks for a resume, and goes on only if that brings no more", () => {
  const { session } = liveSession();
  assert.equal(session.receive(result(2, 9)), false);
  assert.equal(session.cursor, "e1.0");
  reconnect(session, { cursor: "e1.0" });
  assert.equal(session.receive(result(2, 9)), true);
  assert.equal(session.cursor, "e1.2");
  assert.equal(session.receive(result(4, 9)), false);
});

test("acknowledgements are batched: every 32 deliveries or half a second", () => {
  const { session, sent, clock } = liveSession();
  for (let n = 1; n <= 33; n++) session.receive(result(n, 99));
  assert.deepEqual(sent(), [{ t: "ack", cursor: "e1.32" }]);
  clock.advance(499);
  assert.deepEqual(sent(), []);
  clock.advance(1);
  assert.deepEqual(sent(), [{ t: "ack", cursor: "e1.33" }]);
  clock.advance(5000);
  assert.deepEqual(sent(), []);
});

test("pages that begin together do not acknowledge together, nor when their timers have brought them together", () => {
  const acknowledged = (random) => {
    const { session, sent, clock } = liveSession({ random });
    let n = 0;
    const take = (count) => {
      for (let i = 0; i < count; i++) session.receive(result(++n, 99));
      return sent().map((message) => message.cursor);
    };
    const first = take(80);
    clock.advance(500);
    return [...first, ...sent().map((message) => message.cursor), ...take(20)];
  };
  assert.deepEqual(acknowledged(0), ["e1.1", "e1.33", "e1.65", "e1.80", "e1.81"]);
  assert.deepEqual(acknowledged(0.25), ["e1.9", "e1.41", "e1.73", "e1.80", "e1.89"]);
});

test("a transport that carries the cursor itself sends no acknowledgement", () => {
  const { session, sent, clock } = liveSession({ acks: false });
  for (let n = 1; n <= 40; n++) session.receive(result(n, 99));
  clock.advance(5000);
  assert.deepEqual(sent(), []);
});

test("an acknowledgement that did not leave before lagged is dropped with its numbering", () => {
  const { session, sent } = liveSession();
  for (let n = 1; n <= 32; n++) session.receive(result(n, 99));
  session.receive({ t: "lagged", cursor: "e2.5" });
  assert.deepEqual(sent(), []);
  assert.equal(session.receive(result(6, 99)), true);
});

test("LV2: answers come whole or as a patch of the one before", () => {
  const { session } = liveSession();
  const answers = [];
  session.watch([{ name: "room" }], "recent", { limit: 2 }, { answer: (v, p) => answers.push([v, p]), end() {} });
  session.receive({ t: "answer", n: 1, id: 1, tid: "1", value: ["a"] });
  session.receive({ t: "answer", n: 2, id: 1, tid: "2", patch: [["s", 1, 0, ["b"]]] });
  assert.deepEqual(answers, [[["a"], undefined], [["a", "b"], [["s", 1, 0, ["b"]]]]]);
});

test("a patch that does not fit reopens the watch", () => {
  const { session, sent } = liveSession();
  const answers = [];
  session.watch([], "q", undefined, { answer: (v) => answers.push(v), end() {} });
  sent();
  session.receive({ t: "answer", n: 1, id: 1, tid: "1", patch: [["k", "a", 1]] });
  assert.deepEqual(sent().map((m) => [m.t, m.id]), [["unwatch", 1], ["watch", 1]]);
  session.receive({ t: "answer", n: 2, id: 1, tid: "1", value: {} });
  assert.deepEqual(answers, [{}]);
});

test("PE6: watches are sent again with their ids on a new epoch; on the same one only if nothing came back yet", () => {
  const { session, sent } = liveSession();
  const quiet = { answer() {}, end() {} };
  session.watch([], "answered", undefined, quiet);
  session.watch([], "unanswered", undefined, quiet);
  sent();
  session.receive({ t: "answer", n: 1, id: 1, tid: "1", value: 1 });
  reconnect(session, { cursor: "e1.1" });
  assert.deepEqual(sent().map((m) => m.id), [2]);
  reconnect(session, { cursor: "e2.0" });
  assert.deepEqual(sent().map((m) => m.id), [1, 2]);
});

test("a closed watch is silent, and told so again if its end may have been lost", () => {
  const { session, sent } = liveSession();
  const answers = [];
  const close = session.watch([], "q", undefined, { answer: (v) => answers.push(v), end: () => answers.push("end") });
  close();
  close();
  assert.deepEqual(sent().map((m) => m.t), ["watch", "unwatch"]);
  session.receive({ t: "answer", n: 1, id: 1, tid: "1", value: 1 });
  reconnect(session, { cursor: "e1.1" });
  assert.deepEqual(sent(), [{ t: "unwatch", id: 1 }]);
  reconnect(session, { cursor: "e1.1" });
  assert.deepEqual(sent(), []);
  assert.deepEqual(answers, []);
});

test("PE9: a watch ends with its error, a stream says its gaps", () => {
  const { session, told } = liveSession();
  const heard = [];
  session.watch([], "q", undefined, { answer() {}, gap: (r) => heard.push(r), end: (e) => heard.push(e?.code) });
  session.receive({ t: "gap", n: 1, id: 1, reason: "lag" });
  session.receive({ t: "gap", n: 2, id: 0, reason: "restart" });
  session.receive({ t: "end", n: 3, id: 1, error: { kind: "not_allowed", code: "forbidden" } });
  session.receive({ t: "end", n: 4, id: 1 });
  assert.deepEqual(heard, ["lag", "forbidden"]);
  assert.deepEqual(told.gaps, ["restart"]);
});

test("an error in the application's callback is reported and stops nothing", () => {
  const { session, clock } = liveSession();
  session.watch([], "q", undefined, { answer() { throw new Error("mine"); }, end() {} });
  session.receive({ t: "answer", n: 1, id: 1, tid: "1", value: 1 });
  assert.equal(session.receive({ t: "answer", n: 2, id: 1, tid: "1", value: 1 }), true);
  assert.equal(clock.reported.length, 2);
});

test("the mind answers when it is asked to, and its errors cross without their insides", async () => {
  const { session, told, sent, clock } = liveSession();
  told.answer = (m) => {
    if (m.method === "refuse") throw new HubbubError("refused", "busy", "later");
    if (m.method === "fail") throw new Error("secret");
    return 42;
  };
  ["notice", "ask", "refuse", "fail"].forEach((method, i) =>
    session.receive({ t: "mind", n: i + 1, id: i, method, args: [], kwargs: {} }));
  await turn();
  assert.deepEqual(sent().filter((m) => m.t === "reply"), [
    { t: "reply", id: 1, value: 42 },
    { t: "reply", id: 2, error: { kind: "refused", code: "busy", message: "later" } },
    { t: "reply", id: 3, error: { kind: "internal", code: "internal" } },
  ]);
  assert.equal(clock.reported.length, 1);
  reconnect(session, { cursor: "e1.4" });
  assert.equal(sent().filter((m) => m.t === "reply").length, 3, "a reply may have died with its connection");
  reconnect(session, { cursor: "e2.0" });
  assert.deepEqual(sent(), []);
});

test("PE4: of a lost session, sent calls have an unknown outcome; unsent ones move to the next, numbered afresh", async () => {
  const { session, sent } = liveSession();
  const first = session.call([], "a");
  sent();
  session.pause();
  const second = session.call([], "b");
  session.watch([], "q", undefined, { answer() {}, end() {} });
  session.lose();
  await assert.rejects(first, (e) => e.kind === "outcome_unknown");
  session.welcomed(welcome({ session: "s2", cursor: "f1.0" }));
  session.begin(true);
  assert.deepEqual(sent(), [{ t: "watch", id: 1, name: "q" }, { t: "call", id: 1, name: "b" }]);
  session.receive(result(1, 1, "ok"));
  assert.equal(await second, "ok");
});

test("PE6: a reload goes on: ids do not start again, calls are repeated, watches of the page before end", () => {
  const one = liveSession();
  one.session.call([], "a");
  one.session.watch([], "q", undefined, { answer() {}, end() {} });
  one.session.receive({ t: "answer", n: 1, id: 1, tid: "1", value: 1 });
  const snapshot = JSON.parse(JSON.stringify(one.session.snapshot()));

  const two = liveSession();
  two.session.pause();
  two.session.restore(snapshot);
  assert.equal(two.session.cursor, "e1.1");
  two.session.welcomed(welcome({ resumed: true, cursor: "e1.1" }));
  two.session.begin(true);
  two.session.call([], "b");
  assert.deepEqual(two.sent().map((m) => [m.t, m.id]), [["unwatch", 1], ["call", 1], ["call", 2]]);
});

test("a call can be cancelled; its id stays used", async () => {
  const { session, sent } = liveSession();
  const stop = new AbortController();
  const call = session.call([], "slow", undefined, stop.signal);
  stop.abort();
  await assert.rejects(call, (e) => e.code === "cancelled");
  assert.deepEqual(sent().map((m) => [m.t, m.id]), [["call", 1], ["cancel", 1]]);
  session.call([], "next");
  assert.equal(sent()[0].id, 2);
});

test("PE7: what the host would not take is refused here, and uses no id", async () => {
  const { session, sent } = liveSession();
  await assert.rejects(session.call([], "say", { text: "é".repeat(5000) }), (e) => e.kind === "limit");
  session.call([], "say", { text: "e".repeat(5000) });
  assert.equal(sent()[0].id, 1);
});

test("after the end everything is rejected", async () => {
  const { session, sent } = liveSession();
  const ends = [];
  const listener = { answer() {}, end: (e) => ends.push(e?.code) };
  const call = session.call([], "a");
  session.watch([], "q", undefined, listener);
  sent();
  session.finish();
  await assert.rejects(call, (e) => e.kind === "closed");
  await assert.rejects(session.call([], "b"), (e) => e.kind === "closed");
  session.watch([], "q", undefined, listener);
  assert.deepEqual(ends, [undefined, "closed"]);
});
