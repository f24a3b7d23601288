// @ts-check
/** Ids of events: milliseconds since 1970 and a number, which only rise. */

/** True where one id comes after another; anything comes after none. @param {string} id @param {string|null} other */
export function isAfter(id, other) {
  if (!other) return true;
  const [left, right] = [id, other].map((text) => text.split("-").map(Number));
  return left[0] > right[0] || (left[0] === right[0] && left[1] > right[1]);
}

/** When the event was written, in milliseconds since 1970. @param {string} id */
export const momentOf = (id) => Number(id.split("-")[0]);
