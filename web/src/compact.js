// @ts-check
/** Prices in the compact form: arrays that do not say where they come from. */

import { middle } from "./decimal.js";

/** The event that has this form. */
export const PRICE = "price_update";

/**
 * A price as its event has it, and its id where the array has it.
 * @param {[string, string, string, number, number?, number?]} row
 * @returns {[{instrument: string, price: {bid: string, ask: string, mid: string, time: string}}, string|null]}
 */
export function unpacked([instrument, bid, ask, milliseconds, later, number]) {
  const price = { bid, ask, mid: middle(bid, ask), time: new Date(milliseconds).toISOString() };
  return [{ instrument, price }, later === undefined ? null : `${milliseconds + later}-${number}`];
}
