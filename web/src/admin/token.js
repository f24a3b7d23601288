// @ts-check
/** The token of the page, kept in this tab only. */

const NAME = "admin token";

let held = "";

/** The token; "" if there is none. */
export function token() {
  try {
    return sessionStorage.getItem(NAME) ?? held;
  } catch {
    return held; // storage is disabled: the token lasts as long as the page
  }
}

/** Keep a token. @param {string} text */
export function keep(text) {
  held = text;
  try {
    sessionStorage.setItem(NAME, text);
  } catch {
    // Storage is disabled: the token lasts as long as the page.
  }
}

/** Forget the token. */
export function forget() {
  held = "";
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // Storage is disabled: nothing was kept.
  }
}
