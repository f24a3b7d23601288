// @ts-check
const FIRST_PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

/** Another try of what has failed, later each time until it succeeds. */
export class Again {
  /** @param {() => void} act */
  constructor(act) {
    this._act = act;
    this._pause = FIRST_PAUSE;
    this._timer = 0;
  }

  /** It has failed: try again after a pause. */
  failed() {
    clearTimeout(this._timer);
    this._timer = window.setTimeout(this._act, this._pause);
    this._pause = Math.min(2 * this._pause, LONGEST_PAUSE);
  }

  /** It has succeeded, or is not wanted any more. */
  stop() {
    clearTimeout(this._timer);
    this._pause = FIRST_PAUSE;
  }
}
