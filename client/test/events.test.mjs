import assert from "node:assert/strict";
import { test } from "node:test";
import { eventParser } from "../build/internals.mjs";

const text = ': hi\r\n\r\nid: e.1\ndata: [1]\n\ndata:[2,\r\ndata: 3]\r\rid: e.2\n\ndata: [4]\n\n';
const events = ["[1]", "[2,\n3]", "[4]"];

test("events are found whatever the line ends, comments and ids aside", () => {
  assert.deepEqual(eventParser()(text), events);
});

test("events are found however the stream is cut", () => {
  for (let cut = 0; cut <= text.length; cut++) {
    const parse = eventParser();
    assert.deepEqual([...parse(text.slice(0, cut)), ...parse(text.slice(cut))], events, `cut at ${cut}`);
  }
  const parse = eventParser();
  assert.deepEqual([...text].flatMap((letter) => parse(letter)), events);
});
