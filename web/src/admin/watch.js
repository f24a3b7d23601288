// @ts-check
import { ask } from "./state.js";

const EVERY = 2_000;

/** Polls the state every two seconds while the page is visible, and reports each outcome. */
export class Watch {
  /** @param {(outcome: import("./state.js").Told | import("./state.js").NotTold) => void} tell */
  constructor(tell) {
    this._tell = tell;
    this._token = "";
    this._leaving = new AbortController();
    this._timer = 0;
    document.addEventListener("visibilitychange", () => this._look());
  }

  /** Start polling with this token. @param {string} token */
  start(token) {
    this.stop();
    this._token = token;
    this._look();
  }

  /** Stop polling. */
  stop() {
    this._token = "";
    this._rest();
  }

  _look() {
    this._rest();
    if (this._token && !document.hidden) this._ask();
  }

  _rest() {
    this._leaving.abort();
    this._leaving = new AbortController();
    clearTimeout(this._timer);
  }

  async _ask() {
    const { signal } = this._leaving;
    const outcome = await ask(this._token, signal);
    if (signal.aborted) return;
    this._timer = setTimeout(() => this._ask(), Math.max(EVERY, outcome.kind === "away" ? (outcome.wait ?? 0) : 0));
    this._tell(outcome);
  }
}
