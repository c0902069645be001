/** The one error class: every failure that the host or this client names carries a stable `kind` and `code`. */

/**
 * Why something did not work.
 *
 * `kind` says what to do: `refused` (the application's own no), `invalid`, `not_allowed`, `login_failed`, `limit`,
 * `conflict`, `disk_full` (try again later), `outcome_unknown` (it may have happened: look first), `internal` (the host
 * failed; quote `incident`), `closed`.
 */
export class HubbubError extends Error {
  constructor(
    readonly kind: string,
    readonly code: string,
    message = "",
    readonly incident = "",
  ) {
    super(message || code);
    this.name = "HubbubError";
  }
}
