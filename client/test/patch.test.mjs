import assert from "node:assert/strict";
import { test } from "node:test";
import { applyPatch } from "../build/internals.mjs";

test("LV2: operations on a list apply in order, each to what the one before left", () => {
  assert.deepEqual(applyPatch([1, 2, 3], [["s", 0, 1, []], ["s", 2, 0, [4, 5]], ["s", 1, 1, ["x"]]]), [2, "x", 4, 5]);
  assert.deepEqual(applyPatch([], [["s", 0, 0, [1]]]), [1]);
  assert.deepEqual(applyPatch([[1]], [["s", 0, 1, [[2]]]]), [[2]], "items that are lists stay lists");
  assert.equal(applyPatch([], [["s", 0, 0, Array(300_000).fill(0)]]).length, 300_000);
});

test("LV2: operations on an object", () => {
  assert.deepEqual(applyPatch({ a: 1, b: 2 }, [["k", "c", 3], ["d", "a"], ["k", "b", null]]), { b: null, c: 3 });
});

test("the value before stays as it is, and untouched items keep their identity", () => {
  const before = [{ a: 1 }, { b: 2 }];
  const after = applyPatch(before, [["s", 2, 0, [{ c: 3 }]]]);
  assert.equal(before.length, 2);
  assert.equal(after[0], before[0]);
  const object = { a: {} };
  assert.equal(applyPatch(object, [["k", "b", 1]]).a, object.a);
  assert.deepEqual(object, { a: {} });
});

test("the key __proto__ is plain data", () => {
  const after = applyPatch(JSON.parse('{"__proto__": 1}'), [["k", "__proto__", { evil: true }], ["k", "x", 1]]);
  assert.equal(after.evil, undefined);
  assert.equal(Object.getPrototypeOf(after), Object.prototype);
  assert.deepEqual(Object.keys(after), ["__proto__", "x"]);
});

test("a patch that does not fit is an error and changes nothing", () => {
  const list = [1];
  for (const patch of [[["s", 2, 0, []]], [["s", 0, 2, []]], [["s", -1, 0, []]], [["k", "a", 1]], [["d", "a"]]]) {
    assert.throws(() => applyPatch(list, patch), RangeError);
  }
  assert.deepEqual(list, [1]);
  assert.throws(() => applyPatch({}, [["d", "a"]]), RangeError);
  assert.throws(() => applyPatch({}, [["s", 0, 0, []]]), RangeError);
  for (const value of [null, undefined, 1, "text"]) assert.throws(() => applyPatch(value, []), RangeError);
});
