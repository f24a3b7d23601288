// @ts-check
import "./chart.css";
import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
  createChart,
} from "lightweight-charts";
import { Again } from "../again.js";
import { bollinger, sma } from "./averages.js";
import { Bars } from "./bars.js";
import { choice, make, spoken, utc } from "./elements.js";

const GRANULARITIES = ["M1", "M5", "M15", "H1", "H4", "D", "W", "M"];
const MEANS = [15, 30, 50];
const WARM_UP = 50;
const TABLE_ROWS = 60;
const REFRESH = 60_000;
const COLOURS = { 15: "#c77700", 30: "#8a5cd6", 50: "#0f8a8a", bands: "#7d8797" };

/** Mount the candle chart of the selected pair. Returns a function that unmounts it. @param {HTMLElement} element */
export function mount(element, { store, api }) {
  const panel = new ChartPanel(element, store, api);
  return () => panel.unmount();
}

class ChartPanel {
  constructor(element, store, api) {
    this.element = element;
    this.store = store;
    this.api = api;
    this.granularity = "H1";
    this.frame = 0;
    this.turn = 0;
    this.loading = false;
    this.alive = true;
    /** @type {import("lightweight-charts").IPriceLine[]} price lines of the levels */
    this.lines = [];
    this.again = new Again(() => this.open());
    /** @type {Bars} */
    this.bars = new Bars(api, store.selected, this.granularity);
    this._build();
    this._draw();
    this._theme();
    this._follow();
    this.open();
  }

  /** Load another pair or length. */
  async open() {
    const turn = ++this.turn;
    const bars = new Bars(this.api, this.store.selected, this.granularity);
    this.bars = bars;
    this.loading = true;
    this.root.setAttribute("aria-busy", "true");
    this._say("Loading bars…");
    try {
      await bars.load();
      if (turn !== this.turn) return;
      this.again.stop();
      this._scale();
      this._show(true);
      await this._levels();
    } catch (error) {
      if (turn !== this.turn) return;
      this._say(`The bars could not be loaded: ${error.message}`);
      this.again.failed();
    } finally {
      if (turn === this.turn) {
        this.loading = false;
        this.root.setAttribute("aria-busy", "false");
      }
    }
  }

  unmount() {
    this.alive = false;
    this.turn++;
    this.again.stop();
    cancelAnimationFrame(this.frame);
    clearInterval(this.timer);
    for (const stop of this.stops) stop();
    this.chart.remove();
    this.root.remove();
  }

  _build() {
    this.buttons = GRANULARITIES.map((name) => {
      const button = make(
        "button",
        { type: "button", "aria-pressed": String(name === this.granularity), "data-granularity": name },
        name,
      );
      button.addEventListener("click", () => {
        this.granularity = name;
        for (const each of this.buttons) each.setAttribute("aria-pressed", String(each === button));
        this.open();
      });
      return button;
    });
    this.overlay = choice("Overlays", [
      ["both", "SMA and bands"],
      ["sma", "SMA 15/30/50"],
      ["bands", "Bollinger 20/2"],
      ["none", "No overlays"],
    ]);
    this.overlay.addEventListener("change", () => this._show(false));
    this.badge = make("span", { class: "badge chart-simulated", hidden: "" }, "Simulated bars");
    this.legend = make("p", { class: "chart-legend" });
    this.key = make(
      "p",
      { class: "chart-key" },
      ...MEANS.map((period) => sample(`SMA ${period}`, COLOURS[period])),
      sample("Bollinger 20/2", COLOURS.bands),
    );
    this.canvas = make("div", { class: "chart-canvas", "aria-hidden": "true" });
    this.state = make("p", { class: "chart-state", role: "status" });
    this.words = make("p", { class: "chart-words" });
    this.span = make("p", { class: "chart-span" });
    this.rows = make("tbody");
    const heads = [
      "Start, UTC",
      "Open",
      "High",
      "Low",
      "Close",
      "Ticks",
      ...MEANS.map((n) => `SMA ${n}`),
      "Upper band",
      "Lower band",
      "Source",
    ];
    this.table = make(
      "details",
      { class: "chart-table" },
      make("summary", {}, "Figures of the newest bars"),
      make(
        "div",
        { class: "chart-scroll", tabindex: "0", role: "region", "aria-label": "Figures of the newest bars" },
        make(
          "table",
          {},
          make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
          this.rows,
        ),
      ),
    );
    this.table.addEventListener("toggle", () => this._tabulate());
    // The licence of the library requires this credit; its own logo would need an inline style.
    const credit = make("a", { href: "https://www.tradingview.com/", rel: "noopener", target: "_blank" }, "TradingView");
    this.root = make(
      "div",
      { class: "chart" },
      make(
        "div",
        { class: "chart-bar" },
        make("div", { class: "chart-lengths", role: "group", "aria-label": "Length of a bar" }, ...this.buttons),
        this.overlay,
        this.badge,
      ),
      this.legend,
      this.key,
      make("div", { class: "chart-box" }, this.canvas, this.state),
      this.words,
      this.span,
      this.table,
      make("p", { class: "chart-credit" }, "Charts by ", credit, " Lightweight Charts™"),
    );
    this.element.append(this.root);
  }

  _draw() {
    this.chart = createChart(this.canvas, {
      autoSize: true,
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { scaleMargins: { top: 0.06, bottom: 0.2 } },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4 },
      handleScroll: { vertTouchDrag: false },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    const line = (color, style = LineStyle.Solid) =>
      this.chart.addSeries(LineSeries, {
        color,
        lineWidth: 1,
        lineStyle: style,
        lastValueVisible: false,
        priceLineVisible: false,
        crosshairMarkerVisible: false,
      });
    this.means = MEANS.map((period) => ({ period, series: line(COLOURS[period]) }));
    this.upper = line(COLOURS.bands, LineStyle.Dashed);
    this.lower = line(COLOURS.bands, LineStyle.Dashed);
    this.chart.subscribeCrosshairMove(({ time }) => {
      this.pointed = time === undefined ? undefined : Number(time) * 1000;
      this._legend();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 20) this._older();
    });
  }

  _follow() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => {
      this._theme();
      this._show(false);
    };
    dark.addEventListener("change", recolour);
    const switched = new MutationObserver(recolour);
    switched.observe(document.documentElement, { attributes: true, attributeFilter: ["class", "data-theme", "style"] });
    const levels = () => this._levels();
    document.addEventListener("levels-changed", levels);
    this.timer = setInterval(() => this._refresh(), REFRESH);
    this.stops = [
      () => dark.removeEventListener("change", recolour),
      () => switched.disconnect(),
      () => document.removeEventListener("levels-changed", levels),
      this.store.on("selected", () => this.open()),
      this.store.on("prices", (pairs) => pairs.has(this.bars.pair) && this._schedule()),
      this.store.on("alert", (alert) => alert.type === "price_alert" && this._levels()),
      this.store.on("connection", ({ recovered }) => recovered === false && this._refresh()),
    ];
  }

  _schedule() {
    if (!this.frame)
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this._take();
      });
  }

  _take() {
    const price = this.store.price(this.bars.pair);
    if (!price || this.loading || !this.bars.list.length) return;
    const before = this.bars.list.length;
    if (!this.bars.take(price)) this._refresh();
    if (this.bars.list.length !== before) this._show(false);
    else this._last();
  }

  async _refresh() {
    if (this.loading || this.refreshing) return;
    const turn = this.turn;
    this.refreshing = true;
    try {
      await this.bars.refresh();
      if (turn === this.turn) this._show(false);
    } catch {
      // The header shows that the gateway is away; the next refresh retries.
    } finally {
      this.refreshing = false;
    }
  }

  async _older() {
    if (this.loading || this.bars.whole) return;
    const turn = this.turn;
    this.loading = true;
    try {
      const known = this.bars.list.length;
      const range = this.chart.timeScale().getVisibleLogicalRange();
      if ((await this.bars.older()) && turn === this.turn) {
        this._show(false);
        const added = this.bars.list.length - known;
        if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + added, to: range.to + added });
      }
    } catch (error) {
      if (turn === this.turn) this._say(`Older bars could not be loaded: ${error.message}`);
    } finally {
      if (turn === this.turn) this.loading = false;
    }
  }

  async _levels() {
    const pair = this.bars.pair;
    let levels;
    try {
      ({ levels } = await this.api.get("api/v1/alerts/levels", { pair }));
    } catch {
      return; // the panel of the levels shows the error
    }
    if (!this.alive || pair !== this.bars.pair) return;
    for (const line of this.lines) this.candles.removePriceLine(line);
    this.lines = levels.map(({ level, direction, armed }) =>
      this.candles.createPriceLine({
        price: Number(level),
        color: armed ? this.colours.accent : this.colours.muted,
        lineWidth: 1,
        lineStyle: LineStyle.Dotted,
        title: armed ? direction : "done",
      }),
    );
    this.root.dataset.levels = String(levels.length);
  }

  _scale() {
    // A mid that lies between two prices at the pair's precision has one decimal more than the others.
    const decimals = Math.min(...this.bars.list.map(({ c }) => c.split(".")[1]?.length ?? 0), 5);
    const priceFormat = { type: /** @type {const} */ ("price"), precision: decimals, minMove: 10 ** -decimals };
    for (const series of [this.candles, this.upper, this.lower, ...this.means.map((mean) => mean.series)])
      series.applyOptions({ priceFormat });
    this.decimals = decimals;
  }

  /** Redraw everything; with `fit`, scroll to the newest bars. */
  _show(fit) {
    const { list } = this.bars;
    this._say(list.length ? "" : `No ${this.bars.granularity} bars of ${spoken(this.bars.pair)} are stored yet.`);
    this.candles.setData(list.map((bar) => this._candle(bar)));
    this.volume.setData(list.some((bar) => bar.volume) ? list.map((bar) => this._ticks(bar)) : []);
    this._overlays(0);
    if (fit && list.length) this.chart.timeScale().setVisibleLogicalRange({ from: list.length - 120, to: list.length + 4 });
    this._texts();
  }

  /** Redraw the last bar, the only one that a price changes. */
  _last() {
    const bar = this.bars.list.at(-1);
    this.candles.update(this._candle(bar));
    if (bar.volume) this.volume.update(this._ticks(bar));
    this._overlays(this.bars.list.length - 1);
    this._texts();
  }

  _overlays(from) {
    const list = this.bars.list;
    const start = Math.max(0, from - WARM_UP);
    const part = list.slice(start);
    const figures = overlays(part);
    const wanted = this.overlay.value;
    const put = (series, value, shown) => {
      const points = part
        .map((bar, at) => ({ time: moment(bar), value: value(figures[at]) }))
        .filter((point) => point.value !== null);
      if (!shown) series.setData([]);
      else if (from) points.length && series.update(points.at(-1));
      else series.setData(points);
    };
    for (const { period, series } of this.means) put(series, (figure) => figure[period], wanted === "both" || wanted === "sma");
    put(this.upper, (figure) => figure.bands?.upper ?? null, wanted === "both" || wanted === "bands");
    put(this.lower, (figure) => figure.bands?.lower ?? null, wanted === "both" || wanted === "bands");
  }

  _texts() {
    const { list, pair, granularity } = this.bars;
    const last = list.at(-1);
    this.badge.hidden = !list.some((bar) => bar.source === "simulated");
    this._legend();
    this.words.textContent = last
      ? `${spoken(pair)}, ${granularity} bar from ${utc(last.time)}: open ${last.o}, high ${last.h}, low ${last.l}, close ${last.c}` +
        `${last.source === "simulated" ? ", simulated" : ""}${last.complete ? "" : ", still open"}.`
      : "";
    this.span.textContent = last ? `${list.length} bars from ${utc(list[0].time)}` : "";
    this._tabulate();
  }

  _legend() {
    const { list } = this.bars;
    const bar = list.find(({ time }) => time === this.pointed) ?? list.at(-1);
    this.legend.textContent = bar
      ? `${spoken(this.bars.pair)} ${this.bars.granularity}  O ${bar.o}  H ${bar.h}  L ${bar.l}  C ${bar.c}  Ticks ${bar.volume || "–"}`
      : spoken(this.bars.pair);
  }

  _tabulate() {
    if (!this.table.open) return;
    const part = this.bars.list.slice(-TABLE_ROWS - WARM_UP);
    const figures = overlays(part);
    const text = (value) => (value === null || value === undefined ? "–" : value.toFixed(this.decimals + 1));
    const rows = part.map((bar, at) => {
      const figure = figures[at];
      const cells = [
        bar.o,
        bar.h,
        bar.l,
        bar.c,
        String(bar.volume || "–"),
        ...MEANS.map((n) => text(figure[n])),
        text(figure.bands?.upper),
        text(figure.bands?.lower),
        bar.source,
      ];
      return make(
        "tr",
        { "data-complete": String(bar.complete) },
        make("th", { scope: "row" }, utc(bar.time).slice(0, 16)),
        ...cells.map((cell) => make("td", {}, cell)),
      );
    });
    this.rows.replaceChildren(...rows.slice(-TABLE_ROWS).reverse());
  }

  _candle(bar) {
    return { time: moment(bar), open: Number(bar.o), high: Number(bar.h), low: Number(bar.l), close: Number(bar.c) };
  }

  _ticks(bar) {
    const colour = Number(bar.c) >= Number(bar.o) ? this.colours.up : this.colours.down;
    return { time: moment(bar), value: bar.volume, color: faint(colour) };
  }

  _theme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    const colours = {
      up: read("--up", "#0a7d4f"),
      down: read("--down", "#c62828"),
      accent: read("--accent", "#1f5fd0"),
      muted: read("--muted", "#5b6573"),
    };
    this.colours = colours;
    this.chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: read("--panel", "#ffffff") }, textColor: colours.muted },
      grid: { vertLines: { color: read("--line", "#dfe3e8") }, horzLines: { color: read("--line", "#dfe3e8") } },
      rightPriceScale: { borderColor: read("--line", "#dfe3e8") },
      timeScale: { borderColor: read("--line", "#dfe3e8") },
    });
    this.candles.applyOptions({
      upColor: colours.up,
      downColor: colours.down,
      wickUpColor: colours.up,
      wickDownColor: colours.down,
    });
  }

  _say(text) {
    this.state.textContent = text;
    this.state.hidden = !text;
  }
}

/** The start of a bar in the form of the library. @param {import("./bars.js").Bar} bar */
const moment = (bar) => /** @type {import("lightweight-charts").UTCTimestamp} */ (bar.time / 1000);

/** For each bar `{15, 30, 50, bands}`. @param {import("./bars.js").Bar[]} bars */
function overlays(bars) {
  const closes = bars.map((bar) => Number(bar.c));
  const means = MEANS.map((period) => sma(closes, period));
  const bands = bollinger(closes);
  return bars.map((_, at) => ({ 15: means[0][at], 30: means[1][at], 50: means[2][at], bands: bands[at] }));
}

/** A legend entry: a colour and a name. */
function sample(text, colour) {
  const mark = make("span", { class: "chart-sample", "aria-hidden": "true" });
  mark.style.backgroundColor = colour;
  return make("span", {}, mark, text);
}

/** A `#rrggbb` colour at a third of its opacity. */
const faint = (colour) => (/^#[0-9a-f]{6}$/i.test(colour) ? `${colour}55` : colour);
