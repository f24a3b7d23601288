// @ts-check
import { isAfter } from "./cursor.js";
import { SocketChannel } from "./socket_channel.js";
import { StreamChannel } from "./stream_channel.js";

/**
 * @typedef {import("./channel.js").Channel} Channel
 * @typedef {import("./channel.js").Hooks} Hooks
 * @typedef {import("./channel.js").Loss} Loss
 * @typedef {{state: "connecting"|"live"|"reconnecting"|"offline", transport: string|null, latency: number|null, recovered: boolean|null, reason: string, sources: string[]}} Status
 * `sources` are those of the prices when the channel opened.
 */

/** The ways to the gateway, the best first. */
const WAYS = [
  (since, hooks) => new SocketChannel("websocket", since, hooks),
  (since, hooks) => new StreamChannel(since, hooks),
  (since, hooks) => new SocketChannel("polling", since, hooks),
];
/** So often a way that has worked before is tried again before it is given up for the next. */
const PATIENCE = 3;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const FIRST_UPGRADE = 15_000;
const LONGEST_UPGRADE = 300_000;
const LIVES_WITHIN = 4000;

/**
 * Keeps the stream of all pairs up: by websocket, else as an event stream, else by polling. What comes is passed on once and
 * in order. After a loss it goes on from the last event; `recovered` is false where that was not possible.
 */
export class Connection {
  /** @type {Status} */
  status = { state: "connecting", transport: null, latency: null, recovered: null, reason: "", sources: [] };
  /** @type {string|null} the last event's id, or a later place that the gateway named */
  cursor = null;

  /**
   * @param {(type: string, data: any, id: string|null) => void} onEvent
   * @param {(status: Status) => void} onStatus called where state, transport or `recovered` is another
   * @param {(milliseconds: number) => void} onLatency
   */
  constructor(onEvent, onStatus, onLatency) {
    this._onEvent = onEvent;
    this._onStatus = onStatus;
    this._onLatency = onLatency;
    this._way = 0;
    this._failures = 0;
    this._attempts = 0;
    this._worked = new Set();
    this._upgradePause = FIRST_UPGRADE;
    /** @type {Channel|null} */
    this._channel = null;
    /** @type {Channel|null} the better one that is tried beside it */
    this._better = null;
  }

  start() {
    window.addEventListener("online", () => this._wake());
    window.addEventListener("offline", () => this._tell({ state: "offline", reason: "This device is offline" }));
    window.addEventListener("pageshow", (event) => event.persisted && this._wake());
    document.addEventListener("visibilitychange", () => document.hidden || this._wake());
    this._connect();
  }

  /** Another chance at once for what waits, and a sign of life from what stands. */
  _wake() {
    if (this._channel) this._channel.check();
    else if (this._waiting) this._connect();
  }

  _connect() {
    clearTimeout(this._waiting);
    this._waiting = 0;
    const hooks = this._hooks(
      () => this._channel === channel,
      (recovered, sources) => this._opened(recovered, sources),
      (loss) => this._lost(loss),
    );
    const channel = WAYS[this._way](this.cursor, hooks);
    this._channel = channel;
  }

  /** @returns {Hooks} */
  _hooks(isCurrent, opened, lost) {
    let resumed = true;
    return {
      opened: (recovered, sources) => {
        resumed = recovered !== false;
        opened(recovered, sources);
      },
      event: (type, data, id) => {
        if (!isCurrent() || (id && resumed && !isAfter(id, this.cursor))) return;
        resumed = true;
        if (id) this.cursor = id;
        this._onEvent(type, data, id);
      },
      cursor: (cursor) => {
        if (isCurrent() && isAfter(cursor, this.cursor)) this.cursor = cursor;
      },
      latency: (milliseconds) => {
        if (!isCurrent()) return;
        this.status = { ...this.status, latency: milliseconds };
        this._onLatency(milliseconds);
      },
      lost,
    };
  }

  _opened(recovered, sources) {
    this._worked.add(this._way);
    this._failures = 0;
    this._attempts = 0;
    this._tell({ state: "live", transport: this._channel?.transport ?? null, latency: null, recovered, reason: "", sources });
    clearTimeout(this._upgrading);
    if (this._way > 0) this._upgrading = setTimeout(() => this._upgrade(0), this._upgradePause);
  }

  /** @param {Loss} loss */
  async _lost({ reason, refused, unusable }) {
    this._channel = null;
    this._dropBetter();
    if (unusable) this.cursor = null;
    const wasLive = this.status.state === "live";
    const never = this.status.state === "connecting" && !this._worked.size;
    this._tell({ state: never ? "connecting" : "reconnecting", transport: null, latency: null, recovered: null, reason });
    if (wasLive || refused) return this._pause();
    const lives = await this._lives();
    if (this._channel || this._waiting) return undefined;
    if (!lives) {
      this._tell({ state: "offline", reason: "The gateway does not answer" });
      return this._pause();
    }
    this._failures++;
    if (this._worked.has(this._way) && this._failures < PATIENCE) return this._pause();
    this._failures = 0;
    this._way = (this._way + 1) % WAYS.length;
    return this._way ? this._connect() : this._pause();
  }

  _pause() {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this._attempts++);
    this._waiting = window.setTimeout(() => this._connect(), pause * (0.5 + Math.random() / 2));
  }

  /** True where the gateway answers at all, so that it is the way to it which is barred. */
  async _lives() {
    try {
      return (await fetch("health/live", { cache: "no-store", signal: AbortSignal.timeout(LIVES_WITHIN) })).ok;
    } catch {
      return false;
    }
  }

  /** Try a better way beside the one that works, which goes on until the other has opened. */
  _upgrade(way) {
    this._dropBetter();
    if (way >= this._way) {
      this._upgradePause = Math.min(LONGEST_UPGRADE, 2 * this._upgradePause);
      this._upgrading = setTimeout(() => this._upgrade(0), this._upgradePause);
      return;
    }
    const hooks = this._hooks(
      () => this._channel === better,
      (recovered, sources) => {
        if (recovered === false) {
          this._upgrade(this._way); // the place it was to go on from is gone: what works has more
          return;
        }
        this._channel?.close();
        this._channel = better;
        this._better = null;
        this._way = way;
        this._upgradePause = FIRST_UPGRADE;
        this._opened(recovered, sources);
      },
      (loss) => (this._channel === better ? this._lost(loss) : this._better === better && this._upgrade(way + 1)),
    );
    const better = WAYS[way](this.cursor, hooks);
    this._better = better;
  }

  _dropBetter() {
    clearTimeout(this._upgrading);
    this._better?.close();
    this._better = null;
  }

  /** @param {Partial<Status>} change */
  _tell(change) {
    const before = this.status;
    this.status = { ...before, ...change };
    const told = ["state", "transport", "recovered", "reason"];
    if (told.some((name) => this.status[name] !== before[name])) this._onStatus(this.status);
  }
}
