/** The hub: the application's names over a session and its link. */

import type { Args, Hub, HubEvents, Mind, OnAnswer, StreamOptions, Target, Watching } from "./api.js";
import { HubbubError } from "./errors.js";
import type { Link } from "./link.js";
import { type MindCall, type Step, step } from "./messages.js";
import type { Session } from "./session.js";

export class Reference implements Target {
  constructor(
    protected readonly session: Session,
    protected readonly steps: readonly Step[],
    private readonly unheard: (error: HubbubError) => void,
  ) {}

  ref(name: string, args?: Args): Target {
    return new Reference(this.session, [...this.steps, step(name, args)], this.unheard);
  }

  call<T>(name: string, args?: Args, options?: { signal?: AbortSignal }): Promise<T> {
    return this.session.call(this.steps, name, args, options?.signal) as Promise<T>;
  }

  watch(name: string, ...rest: unknown[]): Watching {
    return this.open(name, rest);
  }

  stream(name: string, ...rest: unknown[]): Watching {
    return this.open(name, rest);
  }

  private open(name: string, rest: unknown[]): Watching {
    if (typeof rest[0] === "function") rest.unshift(undefined);
    const [args, callback, options] = rest as [Args | undefined, OnAnswer, StreamOptions | undefined];
    const close = this.session.watch(this.steps, name, args, {
      answer: callback,
      gap: (reason) => options?.onGap?.(reason),
      end: (error) => {
        // A failure that nobody hears is never silent.
        if (error) (options?.onError ?? this.unheard)(error);
        options?.onEnd?.();
      },
    });
    return { close };
  }
}

type Handler = (...args: unknown[]) => unknown;

/** Named listeners. */
class Handlers {
  private readonly all = new Map<string, Set<Handler>>();

  on(name: string, handler: Handler): () => void {
    let set = this.all.get(name);
    if (!set) this.all.set(name, (set = new Set()));
    set.add(handler);
    return () => set.delete(handler);
  }

  of(name: string): Handler[] {
    return [...(this.all.get(name) ?? [])];
  }
}

export class Client extends Reference implements Hub {
  readonly mind: Mind;
  private readonly handlers = new Handlers();
  private readonly methods = new Handlers();
  link!: Link;

  constructor(
    session: Session,
    private readonly given: object | undefined,
    private readonly report: (error: unknown) => void,
  ) {
    super(session, [], (error) => this.tell("fault", error));
    this.mind = { on: (method, handler) => this.methods.on(method, handler) };
  }

  get state(): Hub["state"] {
    return this.link.state;
  }

  get transport(): Hub["transport"] {
    return this.link.kind!;
  }

  get identity(): Hub["identity"] {
    return this.session.identity;
  }

  on<E extends keyof HubEvents>(event: E, handler: HubEvents[E]): () => void {
    return this.handlers.on(event, handler as Handler);
  }

  close(): void {
    this.link.close();
  }

  tell<E extends keyof HubEvents>(event: E, ...args: Parameters<HubEvents[E]>): void {
    for (const handler of this.handlers.of(event)) {
      try {
        handler(...args);
      } catch (error) {
        this.report(error);
      }
    }
  }

  /** Run the host's call. The answer is the given mind's, else that of the first handler; all handlers run. */
  async answer({ method, args, kwargs }: MindCall): Promise<unknown> {
    const handlers = this.methods.of(method);
    const own = this.given && (this.given as Record<string, unknown>)[method];
    // Only what the application wrote: not what every object has.
    if (typeof own === "function" && !(method in Object.prototype)) handlers.unshift(own.bind(this.given) as Handler);
    if (!handlers.length) throw new HubbubError("not_allowed", "no_method", `the mind has no ${method}`);
    const all = [...(args ?? []), ...(kwargs && Object.keys(kwargs).length ? [kwargs] : [])];
    return (await Promise.all(handlers.map(async (handler) => handler(...all))))[0];
  }
}
