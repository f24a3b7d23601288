// @ts-check
/** Samples of the last ten minutes, and the rates computed from their totals. */

const SPANS = [60, 120, 300, 600];
/** Widths of the charts in seconds: the smallest that fits. Samples beyond the last are dropped. */

const BROKEN_AFTER = 15;
/** Seconds without an answer after which a line is interrupted. */

const CPU_OVER = 10;
/** Seconds over which the CPU share is averaged, because workers record their CPU time once a second. */

const MOST = 1200;

/** @typedef {{ time: number, state: any, values: Record<string, number | null> }} Sample */

export class History {
  constructor() {
    /** @type {Sample[]} */
    this.samples = [];
  }

  /** Add a state received at a time, in seconds of the page's clock. @param {any} state @param {number} time */
  add(state, time) {
    const last = this.samples.at(-1);
    const { totals, clients } = state;
    const since = last && follows(last, state, time) ? last.state.totals : null;
    const seconds = since ? totals.at - since.at : 0;
    /** @param {string} name */
    const rate = (name) => (since && seconds > 0 ? Math.max(0, totals[name] - since[name]) / seconds : null);
    const sample = {
      time,
      state,
      values: {
        clients: clients.total,
        lagging: clients.lagging,
        deliveries: rate("deliveries"),
        events: rate("events"),
        bytes: rate("bytes"),
        cpu: this._share(state, time, (told) => told.totals.cpu_seconds),
        memory: totals.memory_bytes,
        loop: totals.loop_lag_ms,
      },
    };
    this.samples.push(sample);
    while (this.samples.length > MOST || this.samples[0].time < time - /** @type {number} */ (SPANS.at(-1)) - BROKEN_AFTER)
      this.samples.shift();
  }

  /** The newest sample. */
  get newest() {
    return this.samples.at(-1);
  }

  /** The width of the charts in seconds at a time of the page's clock. @param {number} now */
  span(now) {
    const age = now - (this.samples[0]?.time ?? now);
    return SPANS.find((span) => span >= age) ?? /** @type {number} */ (SPANS.at(-1));
  }

  /** Forget everything. */
  clear() {
    this.samples = [];
  }

  /** The newest share of a core that a worker uses. @param {number} worker @returns {number | null} */
  cpuOf(worker) {
    const newest = this.samples.at(-1);
    const seconds = (told) => told.gateway.workers.find((each) => each.worker === worker)?.cpu_seconds;
    return newest ? this._share(newest.state, newest.time, seconds) : null;
  }

  /** The points of a figure as lines without gaps. @param {string} name @returns {[number, number][][]} */
  lines(name) {
    /** @type {[number, number][][]} */
    const lines = [];
    let before = null;
    for (const { time, values } of this.samples) {
      const value = values[name];
      const joined = before !== null && value !== null && time - before <= BROKEN_AFTER;
      if (value !== null) {
        if (!joined) lines.push([]);
        /** @type {[number, number][]} */ (lines.at(-1)).push([time, value]);
      }
      before = value === null ? null : time;
    }
    return lines;
  }

  /** CPU seconds per second over the last while; null if unknown. */
  _share(state, time, secondsOf) {
    const now = secondsOf(state);
    const old = this.samples.find((sample) => sample.time >= time - CPU_OVER - 1 && follows(sample, state, time));
    const then = old && secondsOf(old.state);
    const seconds = old ? state.totals.at - old.state.totals.at : 0;
    return then === undefined || now === undefined || seconds <= 0 ? null : Math.max(0, now - then) / seconds;
  }
}

/** Whether a state continues the counters of a sample, not long after it. @param {Sample} sample */
function follows({ time: before, state: { gateway, totals } }, state, time) {
  return gateway.started === state.gateway.started && totals.at < state.totals.at && time - before <= BROKEN_AFTER;
}
