// The stage of tests/clients/SCENARIOS.md, asked over HTTP.

/** One step of a case; the fields depend on what it does. */
export interface Step {
  do: string;
  stream?: string;
  expect?: unknown;
  error?: unknown;
  as?: string;
  direct?: boolean;
  [field: string]: unknown;
}

/** A case of scenarios.json. */
export interface Case {
  name: string;
  about: string;
  engine?: string;
  options?: string[];
  tls?: boolean;
  tokens?: string;
  policy?: string;
  client?: Record<string, number | string>;
  steps: Step[];
}

/** A server of a case's own. */
export interface Stage {
  id: string;
  address: string;
  direct: string;
  directory: string;
}

/** The stage's HTTP server. */
export class Stages {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async cases(): Promise<Case[]> {
    return ((await this.#ask("GET", "/scenarios")) as { cases: Case[] }).cases;
  }

  async add({ engine, options, tls, tokens, policy }: Case): Promise<Stage> {
    const wanted = { engine, options, tls, tokens, policy };
    return (await this.#ask("POST", "/stages", wanted)) as Stage;
  }

  async act(stage: Stage, { action, file, text }: Step): Promise<void> {
    await this.#ask("POST", `/stages/${stage.id}`, { do: action, file, text });
  }

  async remove(stage: Stage): Promise<void> {
    await this.#ask("DELETE", `/stages/${stage.id}`);
  }

  async report(name: string, error: string): Promise<void> {
    await this.#ask("POST", "/results", { case: name, error });
  }

  async #ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(this.#url + path, {
      method,
      signal: AbortSignal.timeout(60_000),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    }
    return response.json();
  }
}
