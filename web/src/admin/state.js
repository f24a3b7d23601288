// @ts-check
/** What the gateway tells an operator. */

const ANSWER_WITHIN = 8_000;

/**
 * How an attempt to ask ended: with a state; or `refused`, where the token is at fault or the page is closed; or `away`, where it
 * is worth trying again, after `wait` milliseconds where the gateway says so.
 * @typedef {{ kind: "state", state: any }} Told
 * @typedef {{ kind: "refused" | "away", reason: string, wait?: number }} NotTold
 */

/** Ask once. @param {string} token @param {AbortSignal} leaving @returns {Promise<Told | NotTold>} */
export async function ask(token, leaving) {
  let answer;
  let body;
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const signal = AbortSignal.any([leaving, AbortSignal.timeout(ANSWER_WITHIN)]);
    answer = await fetch("/admin/state", { headers, signal, cache: "no-store" });
    body = await answer.json();
  } catch (error) {
    if (answer) return { kind: "away", reason: `The gateway's answer cannot be read (status ${answer.status}).` };
    // What no header can carry is no token either.
    if (error instanceof TypeError && !isText(token)) return { kind: "refused", reason: "A token has no such characters." };
    return { kind: "away", reason: "The gateway does not answer." };
  }
  if (answer.ok) return { kind: "state", state: body };
  if (answer.status === 401) return { kind: "refused", reason: "The gateway does not know this token." };
  const reason = `${body.error ?? `The gateway answers with status ${answer.status}`}.`;
  if (answer.status === 403) return { kind: "refused", reason };
  if (answer.status !== 429) return { kind: "away", reason };
  return { kind: "away", reason, wait: 1000 * Number(answer.headers.get("Retry-After") ?? 1) };
}

/** @param {string} text */
const isText = (text) => /^[\x20-\x7e]*$/.test(text);
