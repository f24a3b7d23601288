// @ts-check
const FIRST_PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

/** Retries with backoff until success. */
export class Again {
  /** @param {() => void} act */
  constructor(act) {
    this._act = act;
    this._pause = FIRST_PAUSE;
    this._timer = 0;
  }

  /** Schedule a retry after a failure. */
  failed() {
    clearTimeout(this._timer);
    this._timer = window.setTimeout(this._act, this._pause);
    this._pause = Math.min(2 * this._pause, LONGEST_PAUSE);
  }

  /** Stop retrying, and reset the backoff. */
  stop() {
    clearTimeout(this._timer);
    this._pause = FIRST_PAUSE;
  }
}
