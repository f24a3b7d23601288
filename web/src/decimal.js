// @ts-check
/** Exact arithmetic with prices as text. */

/** `one - other`, with the decimals of the longer; signed. @param {string} one @param {string} other */
export function minus(one, other) {
  const decimals = Math.max(decimalsOf(one), decimalsOf(other));
  return text(units(one, decimals) - units(other, decimals), decimals);
}

/** What lies between two prices, with one decimal more where it has to be. @param {string} one @param {string} other */
export function middle(one, other) {
  const decimals = Math.max(decimalsOf(one), decimalsOf(other));
  const sum = units(one, decimals) + units(other, decimals);
  return sum % 2 ? text(5 * sum, decimals + 1) : text(sum / 2, decimals);
}

/** The spread in pips, to a tenth: a pip is the last digit but one. @param {string} bid @param {string} ask */
export function pips(bid, ask) {
  const decimals = Math.max(decimalsOf(bid), decimalsOf(ask));
  return text(units(ask, decimals) - units(bid, decimals), 1);
}

/** A difference in percent of what it is a difference to, or null. @param {string|null} change @param {string|null} of */
export function percent(change, of) {
  return change === null || of === null || Number(of) === 0 ? null : (100 * Number(change)) / Number(of);
}

function decimalsOf(value) {
  const point = value.indexOf(".");
  return point < 0 ? 0 : value.length - point - 1;
}

function units(value, decimals) {
  const [whole, part = ""] = value.split(".");
  return Number(whole + part.padEnd(decimals, "0"));
}

function text(count, decimals) {
  const digits = String(Math.abs(count)).padStart(decimals + 1, "0");
  const sign = count < 0 ? "-" : "";
  return decimals ? `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : sign + digits;
}
