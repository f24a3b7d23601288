// @ts-check
/** Figures formatted for reading. */

export const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** A number with its significant decimals. @param {number | null} value */
export function number(value) {
  if (value === null) return NONE;
  return (value < 10 ? hundredths : value < 100 ? tenths : whole).format(value);
}

/** A count. @param {number | null} value */
export const count = (value) => (value === null ? NONE : whole.format(value));

/** Bytes. @param {number | null} value */
export function bytes(value) {
  if (value === null) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let scaled = value;
  while (scaled >= 1000 && at < units.length - 1) {
    scaled /= 1000;
    at += 1;
  }
  return `${at ? number(scaled) : whole.format(scaled)} ${units[at]}`;
}

/** A share of one processor core. @param {number | null} value */
export const percent = (value) => (value === null ? NONE : `${(value < 0.1 ? tenths : whole).format(value * 100)} %`);

/** Milliseconds, as a duration. @param {number | null} value */
export function duration(value) {
  if (value === null) return NONE;
  if (value < 1000) return `${number(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 60) return `${tenths.format(seconds)} s`;
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount);
  return parts
    .slice(first, first + 2)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}

/** The time of day, with the date if it is another day. @param {string} text RFC 3339 @param {string} now RFC 3339 */
export function moment(text, now) {
  return text.slice(0, 10) === now.slice(0, 10) ? text.slice(11, 19) : `${text.slice(5, 10)} ${text.slice(11, 16)}`;
}
