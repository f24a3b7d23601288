// @ts-check
/** Tables that are refreshed every two seconds. Unchanged cells are not touched, so that text can be selected. */

/** @typedef {string | { text: string, kind?: string, share?: number }} Cell */

/** Set the rows of a table. The first cell of each row is its header. @param {HTMLElement} body @param {Cell[][]} rows */
export function fill(body, rows) {
  while (body.childElementCount > rows.length) body.lastElementChild?.remove();
  rows.forEach((cells, at) => {
    const row = body.children[at] ?? body.appendChild(document.createElement("tr"));
    while (row.childElementCount > cells.length) row.lastElementChild?.remove();
    cells.forEach((cell, column) => {
      const element = /** @type {HTMLElement} */ (row.children[column] ?? row.appendChild(made(column)));
      const { text, kind, share } = typeof cell === "string" ? { text: cell } : cell;
      if (element.textContent !== text) element.textContent = text;
      if ((element.dataset.kind ?? "") !== (kind ?? "")) element.dataset.kind = kind ?? "";
      if (share !== undefined) element.style.setProperty("--share", String(share));
    });
  });
}

function made(column) {
  const element = document.createElement(column ? "td" : "th");
  if (!column) element.setAttribute("scope", "row");
  return element;
}
