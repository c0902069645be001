/** Time and chance, passed in so that tests own them. */
export interface Clock {
  /** Milliseconds, never going back. */
  now(): number;
  after(ms: number, run: () => void): Timer;
  cancel(timer: Timer | undefined): void;
  random(): number;
  /** Run soon, after the code that runs now, in order. */
  soon(run: () => void): void;
  /** Let an error of the application's callback surface without stopping ours. */
  report(error: unknown): void;
}
export type Timer = unknown;
