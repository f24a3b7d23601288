// @ts-check
/** Bars of one pair and length: loaded from REST by page, the last one updated by prices. */

export const MOST_BARS = 5000;
const PAGE = 300;
const MINUTE = 60_000;
const LENGTHS = {
  M1: MINUTE,
  M5: 5 * MINUTE,
  M15: 15 * MINUTE,
  H1: 60 * MINUTE,
  H4: 240 * MINUTE,
  D: 1440 * MINUTE,
  W: 10080 * MINUTE,
};
const ALIGNED = new Set(["M1", "M5", "M15", "H1"]);

/**
 * @typedef {{time: number, o: string, h: string, l: string, c: string, volume: number, source: string, complete: boolean}} Bar
 * Times are milliseconds since 1970; prices are mids, as text.
 */

export class Bars {
  /** @type {Bar[]} oldest first */
  list = [];
  /** True if nothing older is stored or the limit is reached. */
  whole = false;

  /** @param {{get: (path: string, params?: object) => Promise<any>}} api @param {string} pair @param {string} granularity */
  constructor(api, pair, granularity) {
    this.api = api;
    this.pair = pair;
    this.granularity = granularity;
  }

  /** Load the newest bars. Throws ApiError. */
  async load() {
    const page = await this._page({ limit: PAGE });
    this.list = page;
    this.whole = page.length < PAGE;
  }

  /** Load the page before the first bar; false if there is none. Throws ApiError. */
  async older() {
    if (this.whole || !this.list.length) return false;
    const before = this.list[0].time;
    const page = (await this._page({ limit: PAGE, end_time: new Date(before).toISOString() })).filter((bar) => bar.time < before);
    this.list = page.concat(this.list);
    this.whole = page.length < PAGE || this.list.length + PAGE > MOST_BARS;
    return page.length > 0;
  }

  /** Reload the last bar and those after it. Throws ApiError. */
  async refresh() {
    const last = this.list.at(-1);
    if (!last) return this.load();
    for (const bar of await this._page({ limit: PAGE, start_time: new Date(last.time).toISOString() })) {
      const at = this.list.findIndex((known) => known.time === bar.time);
      if (at < 0) this.list.push(bar);
      // While a bar is open, prices received here may be newer than the stored bar.
      else this.list[at] = bar.complete ? bar : joined(bar, this.list[at]);
    }
    if (this.list.length > MOST_BARS) this.list.splice(0, this.list.length - MOST_BARS);
  }

  /**
   * Add a price to the last bar. Returns false if a new bar begins, whose start only the server knows: call `refresh`.
   * @param {{mid: string, time: string, source?: string}} price
   */
  take(price) {
    const time = Date.parse(price.time);
    const last = this.list.at(-1);
    if (!last || time < last.time) return true;
    if (time < this._end(last.time)) {
      last.h = higher(last.h, price.mid);
      last.l = lower(last.l, price.mid);
      last.c = price.mid;
      if (price.source) last.source = price.source;
      return true;
    }
    if (!ALIGNED.has(this.granularity)) return false;
    last.complete = true;
    const length = LENGTHS[this.granularity];
    const { mid } = price;
    this.list.push({
      time: time - (time % length),
      o: mid,
      h: mid,
      l: mid,
      c: mid,
      volume: 1,
      source: price.source ?? last.source,
      complete: false,
    });
    if (this.list.length > MOST_BARS) this.list.shift();
    return true;
  }

  _end(start) {
    if (this.granularity !== "M") return start + LENGTHS[this.granularity];
    const next = new Date(start + 2 * LENGTHS.D);
    return Date.UTC(next.getUTCFullYear(), next.getUTCMonth() + 1, 1);
  }

  async _page(params) {
    let answer;
    try {
      answer = await this.api.get(`api/v1/candles/${this.pair}`, { granularity: this.granularity, price: "M", ...params });
    } catch (error) {
      if (error?.status === 404) return [];
      throw error;
    }
    return answer.candles.map(({ time, mid, volume, source, complete }) => ({
      time: Date.parse(time),
      ...mid,
      volume,
      source,
      complete,
    }));
  }
}

const higher = (one, other) => (Number(other) > Number(one) ? other : one);
const lower = (one, other) => (Number(other) < Number(one) ? other : one);

function joined(stored, seen) {
  return {
    ...stored,
    h: higher(stored.h, seen.h),
    l: lower(stored.l, seen.l),
    c: seen.c,
    volume: Math.max(stored.volume, seen.volume),
  };
}
