// @ts-check
/** The state of the gateway, from `/admin/state`. */

const TIMEOUT = 8_000;

/**
 * The outcome of a request: a state; `refused` if the token is wrong or the page closed; `away` if it is worth retrying, after
 * `wait` milliseconds if the gateway says so.
 * @typedef {{ kind: "state", state: any }} Told
 * @typedef {{ kind: "refused" | "away", reason: string, wait?: number }} NotTold
 */

/** Request the state once. @param {string} token @param {AbortSignal} leaving @returns {Promise<Told | NotTold>} */
export async function ask(token, leaving) {
  let answer;
  let body;
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const signal = AbortSignal.any([leaving, AbortSignal.timeout(TIMEOUT)]);
    answer = await fetch("./admin/state", { headers, signal, cache: "no-store" });
    body = await answer.json();
  } catch (error) {
    if (answer) return { kind: "away", reason: `The gateway's answer cannot be read (status ${answer.status}).` };
    // A header cannot carry these characters, so that they cannot be a token.
    if (error instanceof TypeError && !isText(token))
      return { kind: "refused", reason: "A token cannot contain these characters." };
    return { kind: "away", reason: "The gateway does not answer." };
  }
  if (answer.ok) return { kind: "state", state: body };
  if (answer.status === 401) return { kind: "refused", reason: "The gateway does not know this token." };
  const reason = `${body.error ?? `The gateway answered with status ${answer.status}`}.`;
  if (answer.status === 403) return { kind: "refused", reason };
  if (answer.status !== 429) return { kind: "away", reason };
  return { kind: "away", reason, wait: 1000 * Number(answer.headers.get("Retry-After") ?? 1) };
}

/** @param {string} text */
const isText = (text) => /^[\x20-\x7e]*$/.test(text);
