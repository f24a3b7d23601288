// What both TypeScript clients check their answers with, and the record of what they asked.

import assert from "node:assert/strict";

/** What the environment says: where the gateway is and the token that may publish and look on. */
export const [url, token] = [process.env["GATEWAY_URL"] ?? "", process.env["GATEWAY_TOKEN"] ?? ""];

/** An operation that the program does not name, and the parameters to call it with. */
interface Operation {
  name: string;
  path: string;
  given: { path: Record<string, string>; query: Record<string, string> };
}

/** The operations that a program calls all alike. */
export const unnamed: Operation[] = JSON.parse(process.env["UNNAMED_OPERATIONS"] ?? "[]");

/** A call of any operation, whose types only its name would tell. */
export type Call<O> = (options: O) => Promise<Answer<object, unknown>>;

const asked: { method: string; path: string; status: number; type: string }[] = [];

/** The fetch of this program, which notes every request and how it was answered. */
export const noted: typeof fetch = async (input, init) => {
  const request = new Request(input, init);
  const response = await fetch(request);
  const type = response.headers.get("content-type") ?? "";
  asked.push({ method: request.method, path: new URL(request.url).pathname, status: response.status, type });
  return response;
};

/** Prints the notes: a JSON list of method, path, status and media type. */
export function tell(): void {
  console.log(JSON.stringify(asked));
}

interface Answer<T, E> {
  data?: T | undefined;
  error?: E | undefined;
  response?: Response | undefined;
}

/** The body of an answer that has to be a success. */
export function told<T>({ data, error, response }: Answer<T, unknown>): NonNullable<T> {
  assert.ok(response?.ok, JSON.stringify(error));
  assert.ok(data !== undefined && data !== null);
  return data;
}

/** Fails unless an answer is the problem of this status and kind. */
export function refused(
  answer: Answer<unknown, { status: number; type: string; detail: string }>,
  status: number,
  kind: string,
): void {
  assert.equal(answer.data, undefined);
  assert.ok(answer.error !== undefined);
  assert.equal(answer.response?.status, status);
  assert.equal(answer.error.status, status);
  assert.equal(answer.error.type, `urn:problem-type:fx-gateway:${kind}`);
  assert.notEqual(answer.error.detail, "");
}

export { assert };
