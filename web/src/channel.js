// @ts-check
/** What the ways to the gateway have in common. */

/**
 * @typedef {{reason: string, refused: boolean, unusable: boolean}} Loss
 * `refused` where the gateway itself said no, `unusable` where it was the cursor that it would not take.
 * @typedef {{
 *   opened: (recovered: boolean|null) => void, event: (type: string, data: any, id: string|null) => void,
 *   cursor: (cursor: string) => void, latency: (milliseconds: number) => void, lost: (loss: Loss) => void
 * }} Hooks
 * @typedef {{transport: string, check: () => void, close: () => void}} Channel
 * Opens once, and once it is lost it stays so.
 */

/** What the gateway tells its clients of, beside the state of their connection. */
export const EVENTS = [
  "price_update",
  "volatility_alert",
  "correlation_alert",
  "price_alert",
  "data_ready",
  "source_changed",
  "feed_status",
  "gap",
];

export const OPEN_WITHIN = 4000;

/** What is replayed at first is old, and would be taken for a slow connection. */
export const SETTLED_AFTER = 1000;
