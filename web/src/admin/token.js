// @ts-check
/** The token that opens the page. This tab keeps it, and no other place does. */

const NAME = "admin token";

let held = "";

/** The token, "" where there is none. */
export function token() {
  try {
    return sessionStorage.getItem(NAME) ?? held;
  } catch {
    return held; // a browser that keeps nothing for pages: it lasts as long as the page
  }
}

/** Keep a token. @param {string} text */
export function keep(text) {
  held = text;
  try {
    sessionStorage.setItem(NAME, text);
  } catch {
    // Then it lasts as long as the page.
  }
}

/** Keep none. */
export function forget() {
  held = "";
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // Nothing was kept either.
  }
}
