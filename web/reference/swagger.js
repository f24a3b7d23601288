// Starts Swagger UI with the document of this gateway.

const dark = matchMedia("(prefers-color-scheme: dark)");
const show = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
show();
dark.addEventListener("change", show);

const SECONDS = 30;
const MOST_SHOWN = 20_000;

/** Shows the answer of an endless stream as it comes. Swagger UI alone would wait for its end, and show nothing. */
function streamsAsTheyCome() {
  let running = new AbortController();
  return {
    statePlugins: {
      spec: {
        wrapActions: {
          executeRequest: (execute, system) => (request) => {
            running.abort();
            if (!answersWithStream(request.operation)) return execute(request);
            running = new AbortController();
            const { signal } = running;
            const show = (answer) => system.specActions.setResponse(request.pathName, request.method, answer);
            return execute({ ...request, fetch: (built) => followed(built, show, signal) });
          },
          clearResponse:
            (clear) =>
            (...operation) => {
              running.abort();
              return clear(...operation);
            },
        },
      },
    },
  };
}

/** `operation` is an Immutable map, as Swagger UI keeps the document. */
function answersWithStream(operation) {
  return operation.hasIn(["responses", "200", "content", "text/event-stream"]);
}

/** Reads a stream for some seconds, showing what has come so far; returns the last of what it showed. */
async function followed(built, show, cleared) {
  const { url, method, headers } = await built.requestInterceptor(built); // with this, the page notes what was asked
  const started = performance.now();
  const signal = AbortSignal.any([cleared, AbortSignal.timeout(SECONDS * 1000)]);
  const response = await fetch(url, { method, headers, signal });
  let text = "";
  const answer = (end = "") => ({
    ok: response.ok,
    status: response.status,
    statusText: response.statusText,
    url: response.url,
    headers: Object.fromEntries(response.headers),
    duration: Math.round(performance.now() - started),
    text: text + end,
    data: text + end,
  });
  try {
    for (const body = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const { done, value } = await body.read();
      if (done) return answer();
      text = (text + value).slice(-MOST_SHOWN);
      if (!cleared.aborted) show(answer());
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    if (cleared.aborted) return new Promise(() => {}); // any answer would be shown again
    return answer(`\n: This page ends a stream after ${SECONDS} s. In a terminal it goes on: curl -N '${url}'\n`);
  }
}

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#rest",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // it would send the document to another host
  plugins: [streamsAsTheyCome],
});
