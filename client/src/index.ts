/** Hubbub's browser client: live Python objects in a page. */

import type { ConnectOptions, Hub } from "./api.js";
import type { Clock } from "./clock.js";
import { Client } from "./hub.js";
import { Claim, Keep } from "./keep.js";
import { Link } from "./link.js";
import { Session } from "./session.js";
import { transports } from "./transport.js";

export type * from "./api.js";
export { HubbubError } from "./errors.js";
export { applyPatch, type PatchOp } from "./patch.js";

const clock: Clock = {
  now: () => performance.now(),
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer as number | undefined),
  random: () => Math.random(),
  soon: (run) => queueMicrotask(run),
  report: (error) => {
    setTimeout(() => {
      throw error;
    });
  },
};

/**
 * Log in to the host at `base` (an address that `_hub/` is added to), or resume this tab's session after a reload.
 *
 * Keeps trying while the host can't be reached.
 *
 * @throws HubbubError if the host refuses the login; kind `login_failed`, `not_allowed`, `limit`...
 */
export async function connect(base = "/", options: ConnectOptions = {}): Promise<Hub> {
  const url = new URL(base, location.href).href.replace(/[?#].*/, "").replace(/\/*$/, "/");
  const { name = "", password = "", checker = "", storageKey = "hubbub" } = options;
  const keep = new Keep(storageKey, JSON.stringify([url, checker, name]));
  const credentials: Record<string, string> = {};
  if (name) credentials.name = name;
  if (password) credentials.password = password;
  else if (!checker || checker === "anonymous") credentials.key = keep.key();

  // The host may call the mind in the same breath as its welcome: the application gets a turn to add its handlers.
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  let settle: { resolve(hub: Hub): void; reject(error: unknown): void } | undefined;
  const session = new Session(clock, {
    wake: () => link.wake(),
    mind: (call) => opened.then(() => client.answer(call)),
    gap: (reason) => client.tell("gap", reason),
    fault: (error) => client.tell("fault", error),
  });
  const client = new Client(session, options.mind, clock.report);
  const claim = new Claim();
  const link = new Link(
    session,
    clock,
    transports(url, clock),
    { credentials, checker, transports: options.transports ?? ["ws", "sse", "poll"] },
    {
      state: (state) => {
        options.onState?.(state);
        client.tell("state", state);
        if (state !== "live") return;
        settle?.resolve(client);
        setTimeout(open);
      },
      fault: (error) => client.tell("fault", error),
      ended: (error) => {
        stop.abort();
        claim.drop();
        if (error) client.tell("fault", error);
        settle?.reject(error);
      },
      save: (on) => {
        keep.saveSession(on ? session.snapshot() : undefined);
        if (on) void claim.take(`hubbub:${session.id}`);
      },
      recall: () => keep.memory(),
      remember: (memory) => keep.saveMemory(memory),
      wallClock: Date.now,
    },
  );
  client.link = link;
  const stop = new AbortController();
  const { signal } = stop;
  const save = (): void => {
    if (session.id) keep.saveSession(session.snapshot());
  };
  addEventListener("pagehide", save, { signal });
  addEventListener("pageshow", (event) => event.persisted && link.nudge(true), { signal });
  addEventListener("online", () => link.nudge(true), { signal });
  addEventListener("offline", () => link.nudge(true), { signal });
  document.addEventListener("visibilitychange", () => document.hidden || link.nudge(false), { signal });

  const stored = keep.session();
  if (stored && (await claim.take(`hubbub:${stored.session}`))) session.restore(stored);
  return new Promise((resolve, reject) => {
    settle = { resolve, reject };
    options.onState?.("connecting");
    link.start();
  });
}
