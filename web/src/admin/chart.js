// @ts-check
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

/** A line chart of a figure over the last minutes, with its newest value. */
export class Chart {
  /**
   * @param {string} title
   * @param {(value: number | null) => string} words formats a value
   * @param {number} least the minimum top of the scale
   */
  constructor(title, words, least) {
    this._title = title;
    this._words = words;
    this._least = least;
    /** @type {[number, number][]} */
    this._points = [];
    this._now = 0;
    this._span = 60;
    this._pointed = null;
    this._value = make("span", "value");
    this._note = make("span", "muted");
    this._top = make("span", "scale muted");
    this._svg = document.createElementNS(SVG, "svg");
    this._svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this._svg.setAttribute("preserveAspectRatio", "none");
    this._svg.setAttribute("role", "img");
    this._area = this._path("area");
    this._line = this._path("line");
    this._mark = this._path("mark");
    const heading = make("h3");
    heading.textContent = title;
    const head = make("div", "panel-head");
    head.append(heading, this._value);
    const plot = make("div", "plot");
    plot.append(this._svg, this._top);
    const foot = make("div", "foot muted");
    this._start = make("span");
    foot.append(this._start, this._note);
    this.element = make("div", "panel chart-panel");
    this.element.append(head, plot, foot);
    this._svg.addEventListener("pointermove", (event) => this._point(event));
    this._svg.addEventListener("pointerleave", () => this._point(null));
  }

  /**
   * Show lines.
   * @param {[number, number][][]} lines points of time, in seconds of the page's clock, and value
   * @param {number} now the right end
   * @param {number} span the width in seconds
   */
  show(lines, now, span) {
    this._points = lines.flat();
    this._now = now;
    this._span = span;
    this._start.textContent = `${span / 60} min ago`;
    const values = this._points.map(([, value]) => value);
    this._highest = nice(Math.max(this._least, ...values));
    const x = (time) => this._x(time).toFixed(1);
    const y = (value) => (HEIGHT - 1 - (value / this._highest) * (HEIGHT - 4)).toFixed(1);
    const drawn = lines.map((line) => line.map(([time, value]) => `${x(time)} ${y(value)}`));
    this._line.setAttribute("d", drawn.map((line) => `M${line.join("L")}${line.length === 1 ? "h1" : ""}`).join(""));
    const filled = drawn.map((line, at) => `M${x(lines[at][0][0])} ${HEIGHT}L${line.join("L")}V${HEIGHT}Z`);
    this._area.setAttribute("d", filled.join(""));
    this._top.textContent = this._words(this._highest);
    const least = values.length ? this._words(Math.min(...values)) : "";
    const most = values.length ? this._words(Math.max(...values)) : "";
    const newest = this._words(values.at(-1) ?? null);
    const range = values.length ? `, between ${least} and ${most} in the last ${span / 60} min` : "";
    this._svg.setAttribute("aria-label", `${this._title.replace("/s", " per second")}: ${newest}${range}`);
    this._tell();
  }

  _x(time) {
    return WIDTH * (1 - (this._now - time) / this._span);
  }

  _point(event) {
    if (event) {
      const { left, width } = this._svg.getBoundingClientRect();
      this._pointed = ((event.clientX - left) / width) * WIDTH;
    } else this._pointed = null;
    this._tell();
  }

  /** Show the newest value or the one nearest to the pointer. */
  _tell() {
    const pointed = this._pointed;
    const nearest = pointed === null ? null : closest(this._points, (time) => Math.abs(this._x(time) - pointed));
    const shown = nearest ?? this._points.at(-1);
    this._value.textContent = this._words(shown ? shown[1] : null);
    this._note.textContent = nearest ? ago(this._now - nearest[0]) : "now";
    this._mark.setAttribute("d", nearest ? `M${this._x(nearest[0]).toFixed(1)} 0V${HEIGHT}` : "");
  }

  _path(name) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    this._svg.append(path);
    return path;
  }
}

/** The smallest of 1, 2, 5, 10, 20 … not below a value. @param {number} value */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * /** @type {number} */ ([1, 2, 5, 10].find((step) => step * power >= value * 0.999999));
}

function closest(points, distance) {
  return points.reduce((best, point) => (best && distance(best[0]) <= distance(point[0]) ? best : point), null);
}

const ago = (seconds) =>
  seconds < 1 ? "now" : seconds < 90 ? `${Math.round(seconds)} s ago` : `${(seconds / 60).toFixed(1)} min ago`;

/** @param {string} tag @param {string} [name] */
function make(tag, name) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  return element;
}
