// @ts-check
/** Moving averages and bands of closes, defined as in the measures of the gateway. */

/** Simple moving averages of `period` values, null while there are too few. @param {number[]} values @param {number} period */
export function sma(values, period) {
  return values.map((_, at) => (at + 1 < period ? null : mean(values.slice(at + 1 - period, at + 1))));
}

/** `{upper, middle, lower}` for each value: two standard deviations of the population to either side. @param {number[]} values */
export function bollinger(values, period = 20, width = 2) {
  return values.map((_, at) => {
    if (at + 1 < period) return null;
    const window = values.slice(at + 1 - period, at + 1);
    const middle = mean(window);
    const half = width * Math.sqrt(mean(window.map((value) => (value - middle) ** 2)));
    return { upper: middle + half, middle, lower: middle - half };
  });
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
