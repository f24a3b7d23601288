// How hey-api generates its client: as modules that Node loads as they are compiled.
export default {
  input: process.env.OPENAPI_FILE,
  output: { path: "hey", module: { extension: ".js" } },
  logs: { file: false },
};
