// Reads manifests of custom kinds from standard input and prints each fault that the schemas of their kinds find, a line
// each; then the kinds for which there is no schema.
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";

const PACKAGES = ["@kubernetes-models/cloudnative-pg", "@kubernetes-models/prometheus-operator"];
const ABSENT = ["ERR_MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED"];

async function model({ apiVersion, kind }) {
  for (const name of PACKAGES) {
    try {
      const found = (await import(`${name}/${apiVersion}`))[kind];
      if (found) return found;
    } catch (error) {
      if (!ABSENT.includes(error.code)) throw error;
    }
  }
  return undefined;
}

const unknown = new Set();
let faults = 0;
for (const document of parseAllDocuments(readFileSync(0, "utf8"))) {
  const manifest = document.toJS();
  const Model = await model(manifest);
  if (Model === undefined) {
    unknown.add(`${manifest.apiVersion} ${manifest.kind}`);
    continue;
  }
  try {
    new Model(manifest).validate();
  } catch (error) {
    faults += 1;
    console.log(`${manifest.kind} ${manifest.metadata.name}: ${error.message}`);
  }
}
for (const kind of unknown) console.log(`no schema: ${kind}`);
process.exitCode = faults ? 1 : 0;
