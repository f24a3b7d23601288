// Starts Redoc with the document of this gateway, in the preferred colour scheme.

const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const colors = dark
  ? {
      primary: { main: "#7ab8ff" },
      text: { primary: "#e6e9ee", secondary: "#a7b0bd" },
      border: { dark: "#39424f", light: "#2a313c" },
      gray: { 50: "#1b2129", 100: "#2a313c" },
      http: { get: "#2f9e6e", post: "#3b82d6", delete: "#d0574f" },
    }
  : {};
const shared = { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } };

Redoc.init(
  "openapi.json",
  {
    disableSearch: true, // it needs workers from blob URLs, which the content security policy forbids
    hideDownloadButton: true,
    nativeScrollbars: true,
    scrollYOffset: "header.site",
    theme: {
      colors,
      typography: dark ? { ...shared, code: { color: "#f0a8a0", backgroundColor: "#222933" } } : shared,
      sidebar: dark ? { backgroundColor: "#151a21", textColor: "#e6e9ee" } : {},
      schema: dark ? { nestedBackground: "#1b2129", typeNameColor: "#a7b0bd", typeTitleColor: "#a7b0bd" } : {},
      rightPanel: { backgroundColor: dark ? "#0c0f13" : "#1f2630" },
    },
  },
  document.getElementById("rest"),
);
