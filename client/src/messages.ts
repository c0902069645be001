/** The session wire in its JSON form, as `hubbub/wire/session.py` defines it. */

import type { Args } from "./api.js";
import { HubbubError } from "./errors.js";
import type { PatchOp } from "./patch.js";

/** What a {@link HubbubError} is made of, as it crosses the wire. */
export interface Failure {
  kind: string;
  code: string;
  message?: string;
  incident?: string;
}

export const toError = (f: Failure): HubbubError => new HubbubError(f.kind, f.code, f.message, f.incident);

/** One step on the way to a reference. */
export interface Step {
  name: string;
  args?: readonly unknown[];
  kwargs?: Record<string, unknown>;
}

export interface Hello {
  t: "hello";
  mind: boolean;
  checker?: string;
  credentials?: Record<string, string>;
  session?: string;
  secret?: string;
  cursor?: string;
}
export interface CallMessage extends Step {
  t: "call" | "watch";
  id: number;
  target?: readonly Step[];
}
export type ToHost =
  | CallMessage
  | { t: "unwatch"; id: number }
  | { t: "cancel"; id: number }
  | { t: "ack"; cursor: string }
  | { t: "reply"; id: number; value?: unknown; error?: Failure }
  | { t: "ping"; n?: number }
  | { t: "bye" };

export interface Welcome {
  t: "welcome";
  session: string;
  secret: string;
  cursor: string;
  resumed: boolean;
  identity: string;
  name: string;
  heartbeat_s: number;
  grace_s: number;
  max_bytes: number;
}
export type Fault = { t: "fault" } & Failure;
export type Closing = { t: "closing"; reason: string; retry_s?: number };
export type MindCall = {
  t: "mind";
  n: number;
  id: number;
  method: string;
  args?: unknown[];
  kwargs?: Record<string, unknown>;
};
export type Delivery =
  | { t: "result"; n: number; id: number; tid?: string; value?: unknown; error?: Failure }
  | { t: "answer"; n: number; id: number; tid: string; value?: unknown; patch?: PatchOp[] }
  | { t: "item"; n: number; id: number; value?: unknown }
  | { t: "gap"; n: number; id: number; reason?: string }
  | { t: "end"; n: number; id: number; error?: Failure }
  | MindCall;
export type Lagged = { t: "lagged"; cursor: string };
export type ToClient = Welcome | Fault | Delivery | Lagged | Closing | { t: "pong"; n?: number };

/** Return `name` with its arguments: an object travels as `kwargs`, an array as `args`. */
export function step(name: string, args?: Args): Step {
  if (!args) return { name };
  return Array.isArray(args) ? { name, args } : { name, kwargs: args as Record<string, unknown> };
}
