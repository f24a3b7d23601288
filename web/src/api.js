// @ts-check
/** The gateway's REST interface. */

const ANSWER_WITHIN = 10_000;

/** A failed request: the status, 0 without an answer, and a message for display. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** GET a path and return the body. Throws ApiError. @param {string} path @param {Record<string, any>} [params] */
export function get(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== null));
  return ask("GET", query.size ? `${path}?${query}` : path);
}

/** POST a body as JSON and return the answer. Throws ApiError. @param {string} path @param {any} body @param {Record<string, string>} [headers] */
export function post(path, body, headers = {}) {
  return ask("POST", path, { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });
}

/** DELETE a path. Throws ApiError. @param {string} path @param {Record<string, string>} [headers] */
export function del(path, headers = {}) {
  return ask("DELETE", path, { headers });
}

async function ask(method, path, options = {}) {
  let answer;
  let body;
  try {
    answer = await fetch(path, { method, signal: AbortSignal.timeout(ANSWER_WITHIN), ...options });
    body = await answer.text();
  } catch {
    throw new ApiError(0, "The gateway does not answer.");
  }
  const read = parsed(body);
  if (!answer.ok) throw new ApiError(answer.status, read?.error ?? read?.message ?? read?.detail ?? `Status ${answer.status}`);
  return read;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
