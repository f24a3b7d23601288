// @ts-check
/** Elements created in one step. Text is never parsed as markup. */

/**
 * An element with attributes and children. Strings become text nodes.
 * @param {string} name @param {Record<string, string>} [attributes] @param {...(Node|string)} children
 * @returns {any}
 */
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. @param {string} name @param {Record<string, string|number>} [attributes] @param {...(Node|string)} children */
export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/** A select element; each choice is `[value, text]`. @param {string} label @param {string[][]} choices */
export function choice(label, choices) {
  const select = make("select", { "aria-label": label });
  for (const [value, text] of choices) select.append(make("option", { value }, text));
  return select;
}

/** `EUR_USD` as `EUR/USD`. @param {string} pair */
export const spoken = (pair) => pair.replace("_", "/");

/** A moment as `2026-01-31 09:30:00 UTC`. @param {string|number} time */
export const utc = (time) => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}
