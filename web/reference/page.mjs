// The frame of the reference pages: header, navigation, styles and scripts.

const PAGES = [
  ["/docs", "REST (Swagger UI)"],
  ["/redoc", "REST (Redoc)"],
  ["/docs/events", "Events"],
];
const FILES = [
  ["/openapi.json", "OpenAPI"],
  ["/docs/asyncapi.yaml", "AsyncAPI"],
  ["/docs/events.d.ts", "TypeScript"],
];

/** A page as HTML with URLs relative to its own. The body is HTML, styles and scripts are names of assets. */
export function page({ title, current, styles, scripts, body }) {
  const root = "../".repeat(current.split("/").length - 2) || "./";
  const links = PAGES.map(
    ([path, name]) => `<a href="${root}${path.slice(1)}"${path === current ? ' aria-current="page"' : ""}>${name}</a>`,
  );
  const files = FILES.map(([path, name]) => `<a href="${root}${path.slice(1)}">${name}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)} – FX Gateway</title>
<link rel="icon" href="data:,">
${styles.map((name) => `<link rel="stylesheet" href="${root}assets/${name}">`).join("\n")}
${scripts.map((name) => `<script defer src="${root}assets/${name}"></script>`).join("\n")}
</head>
<body>
<header class="site">
<a class="name" href="${root}">FX Gateway</a>
<nav aria-label="Reference">${links.join(" ")}</nav>
<nav class="files" aria-label="Specifications">${files.join(" ")}</nav>
</header>
${body}
</body>
</html>
`;
}

/** Text escaped for HTML. */
export function escaped(text) {
  return String(text).replace(/[&<>"]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character]);
}
