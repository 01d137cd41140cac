// Holds what came back against the examples of a case.
import { createRegistry, isMessage, type JsonValue, toJson } from "@bufbuild/protobuf";

import { JobEngineError } from "../src/index.js";
import { file_jobengine_v1_job, file_jobengine_v1_job_engine } from "../src/v1.js";

const registry = createRegistry(file_jobengine_v1_job, file_jobengine_v1_job_engine);

/** A result as examples have it. */
export function asJson(result: unknown): JsonValue | undefined {
  if (!isMessage(result)) {
    return result as JsonValue | undefined;
  }
  const schema = registry.getMessage(result.$typeName);
  if (!schema) {
    throw new Error(`no schema of ${result.$typeName}`);
  }
  return toJson(schema, result);
}

/** An error as examples have it. */
export function asExample(error: JobEngineError): JsonValue {
  return {
    kind: error.name.replace(/Error$/, ""),
    code: error.code,
    reason: error.reason,
    fields: error.violations.map(({ field }) => field).sort(),
    metadata: { ...error.metadata },
  };
}

/** Where something isn't like the example; empty if it is. */
export function difference(example: unknown, actual: unknown): string {
  if (Array.isArray(example)) {
    return differenceOfLists(example, Array.isArray(actual) ? actual : []);
  }
  if (typeof example === "object" && example !== null) {
    const found = (typeof actual === "object" ? actual : null) ?? {};
    for (const [key, value] of Object.entries(example)) {
      const problem = difference(value, (found as Record<string, unknown>)[key]);
      if (problem) {
        return `.${key}${problem}`;
      }
    }
    return "";
  }
  // Unset fields and those with default values are the same.
  const same = actual === example || (!actual && !example);
  return same ? "" : `: ${JSON.stringify(actual)} isn't ${JSON.stringify(example)}`;
}

function differenceOfLists(example: unknown[], actual: unknown[]): string {
  if (example.length !== actual.length) {
    return `: ${JSON.stringify(actual)} isn't ${JSON.stringify(example)}`;
  }
  return example.map((one, index) => difference(one, actual[index])).find(Boolean) ?? "";
}
