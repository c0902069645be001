/** What the browser keeps for us: the tab's session, the person's key, and which tab is which. */

import type { Snapshot } from "./session.js";
import type { Memory } from "./link.js";

const CLAIM_MS = 300;

interface Stored extends Snapshot {
  /** Whose session it is: other credentials do not resume it. */
  who: string;
}

/** Storage under one prefix. Where the browser refuses storage, nothing is kept and all else works. */
export class Keep {
  constructor(
    private readonly prefix: string,
    private readonly who: string,
  ) {}

  session(): Snapshot | undefined {
    const stored = this.read<Stored>(sessionStore(), "session");
    return stored?.who === this.who ? stored : undefined;
  }

  saveSession(snapshot: Snapshot | undefined): void {
    const stored = snapshot && { ...snapshot, who: this.who };
    // Too much to keep: better the session without the calls than none; their ids stay used up.
    if (!this.write(sessionStore(), "session", stored) && stored) {
      this.write(sessionStore(), "session", { ...stored, calls: [] });
    }
  }

  memory(): Memory | undefined {
    return this.read<Memory>(sessionStore(), "transport");
  }

  saveMemory(memory: Memory): void {
    this.write(sessionStore(), "transport", memory);
  }

  /** The person's key: 128 random bits that keep an anonymous name theirs in all tabs. */
  key(): string {
    let key = this.read<string>(localStore(), "key");
    if (!key) {
      key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
      this.write(localStore(), "key", key);
    }
    return key;
  }

  private read<T>(store: Storage | undefined, name: string): T | undefined {
    try {
      return (JSON.parse(store?.getItem(`${this.prefix}.${name}`) ?? "null") as T) ?? undefined;
    } catch {
      return undefined;
    }
  }

  private write(store: Storage | undefined, name: string, value: unknown): boolean {
    try {
      if (value) store?.setItem(`${this.prefix}.${name}`, JSON.stringify(value));
      else store?.removeItem(`${this.prefix}.${name}`);
      return true;
    } catch {
      return false;
    }
  }
}

const sessionStore = (): Storage | undefined => allowed(() => sessionStorage);
const localStore = (): Storage | undefined => allowed(() => localStorage);

function allowed(get: () => Storage): Storage | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

/**
 * The tab's claim to its session. Browsers copy the session storage when a tab is duplicated: the copy finds the claim
 * taken and becomes a session of its own (PE6).
 */
export class Claim {
  private name = "";
  private release = (): void => {};

  /** Claim `name` for this tab; resolves to whether nobody else holds it. Waits for a page that is just going. */
  take(name: string): Promise<boolean> {
    if (name === this.name) return Promise.resolve(true);
    this.drop();
    this.name = name;
    // Locks exist in secure contexts only, channels everywhere.
    return typeof navigator.locks?.request === "function" ? this.lock(name) : this.ask(name);
  }

  drop(): void {
    this.release();
    this.release = () => {};
    this.name = "";
  }

  private lock(name: string): Promise<boolean> {
    return new Promise((resolve) => {
      const giveUp = new AbortController();
      setTimeout(() => giveUp.abort(), CLAIM_MS);
      navigator.locks
        .request(name, { signal: giveUp.signal }, () => {
          resolve(this.name === name);
          return new Promise<void>((release) => {
            if (this.name === name) this.release = release;
            else release();
          });
        })
        .catch(() => resolve(false));
    });
  }

  private ask(name: string): Promise<boolean> {
    return new Promise((resolve) => {
      const channel = new BroadcastChannel(name);
      this.release = () => channel.close();
      channel.onmessage = ({ data }) => {
        if (data === "mine") resolve(false);
        else channel.postMessage("mine");
      };
      channel.postMessage("whose?");
      setTimeout(() => resolve(true), CLAIM_MS / 2);
    });
  }
}
