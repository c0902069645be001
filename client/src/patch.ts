/** Patches: how the newest answer differs from the one before (LV2). */

/**
 * One change of the top-level list or object: `s` splices a list, `k` sets a key, `d` deletes one.
 * Operations apply in order, each to what the one before left.
 */
export type PatchOp =
  | ["s", start: number, deleteCount: number, items: unknown[]]
  | ["k", key: string, value: unknown]
  | ["d", key: string];

/**
 * Return `value` with `patch` applied. `value` itself stays as it is, and untouched items keep their identity,
 * so a renderer may compare by `===`.
 *
 * @throws RangeError if the patch does not fit the value: then the two sides disagree and the watch must be reopened.
 */
export function applyPatch(value: unknown, patch: readonly PatchOp[]): unknown {
  if (typeof value !== "object" || value === null) throw new RangeError("a patch needs a list or an object");
  if (Array.isArray(value)) {
    let list: unknown[] = value;
    for (const op of patch) {
      if (op[0] !== "s" || op[1] < 0 || op[2] < 0 || op[1] + op[2] > list.length) throw misfit(op);
      // Not splice(...items): a long list of items would overflow the stack.
      list = list.slice(0, op[1]).concat(op[3], list.slice(op[1] + op[2]));
    }
    return list;
  }
  const object: Record<string, unknown> = { ...value };
  for (const op of patch) {
    if (op[0] === "k") {
      // Not `object[key] = …`: the key `__proto__` must stay plain data.
      Object.defineProperty(object, op[1], { value: op[2], writable: true, enumerable: true, configurable: true });
    } else if (op[0] === "d" && Object.hasOwn(object, op[1])) delete object[op[1]];
    else throw misfit(op);
  }
  return object;
}

const misfit = (op: PatchOp): RangeError => new RangeError(`patch operation ${op[0]} does not fit`);
