// @ts-check
/** What the channels to the gateway share. */

/**
 * @typedef {{reason: string, refused: boolean, unusable: boolean}} Loss
 * `refused` if the gateway itself refused, `unusable` if it refused the cursor.
 * A price has its pair and its values. `sources` are those of the prices when the channel opens.
 * @typedef {{
 *   opened: (recovered: boolean|null, sources: string[]) => void, event: (type: string, data: any, id: string|null) => void,
 *   cursor: (cursor: string) => void, latency: (milliseconds: number) => void, lost: (loss: Loss) => void
 * }} Hooks
 * @typedef {{transport: string, check: () => void, close: () => void}} Channel
 * Opens once; a lost channel stays lost.
 */

/**
 * The events of the log. The build puts them in, from openapi/asyncapi.yaml.
 * @type {string[]}
 */
export const EVENTS = globalThis.LOG_EVENTS;

/** Milliseconds in which a channel has to open. */
export const OPEN_WITHIN = 4000;

/** Milliseconds after opening before latency is measured: replayed events are old, and would look like a slow connection. */
export const SETTLED_AFTER = 1000;
