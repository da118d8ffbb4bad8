/** The clients, kubectl and helm, and what the lab tells of itself. */
import { existsSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';

import { execute } from '../lab/namespaces.ts';
import type { Namespace, RunOptions, RunResult } from '../lab/namespaces.ts';

/** What test/kubernetes/lab.ts prints. */
export interface LabRecord {
  readonly kubeconfig: string;
  /** Logs of the programs lie here. */
  readonly folder: string;
  /** See Programs in control-plane.ts. */
  readonly definitions: string;
  readonly certManager: string;
  /** Process number of the node's first process, see node.ts. */
  readonly first: number;
  /** Names of network namespaces. */
  readonly node: string;
  readonly bastion: string;
  readonly target: string;
}

/** Where the set-up puts both; elsewhere they are those of the PATH. */
const tools = resolve(import.meta.dirname, '../../.ci/runtime/bin');
const DEADLINE_MS = 120_000;

export class Kubectl {
  readonly kubeconfig: string;
  /** From where the API server can be reached. */
  readonly #from: Namespace | undefined;

  constructor(kubeconfig: string, from?: Namespace) {
    this.kubeconfig = kubeconfig;
    this.#from = from;
  }

  /** Runs kubectl. Throws with its output when it fails, unless `mayFail`. */
  run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.#run(['kubectl', ...args], options);
  }

  helm(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.#run(['helm', ...args], options);
  }

  #run(argv: readonly string[], options: RunOptions): Promise<RunResult> {
    const path = [...(existsSync(tools) ? [tools] : []), process.env['PATH'] ?? ''].join(delimiter);
    const env = { ...process.env, LC_ALL: 'C', PATH: path, KUBECONFIG: this.kubeconfig };
    const how = { timeoutMs: DEADLINE_MS, ...options, env: { ...env, ...options.env } };
    return this.#from === undefined ? execute(argv, how) : this.#from.run(argv, how);
  }
}
