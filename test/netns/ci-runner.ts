/** Runs what is in docker/ci as the runners of GitHub and GitLab would: each script by a real bash. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Namespace, RunResult } from '../lab/namespaces.ts';

export const folder: string = resolve(import.meta.dirname, '../../docker/ci');
const STEP_DEADLINE_MS = 120_000;

type Variables = Readonly<Record<string, string>>;

interface Action {
  readonly inputs: Readonly<Record<string, { required?: boolean; default?: string }>>;
  readonly outputs?: Readonly<Record<string, { value: string }>>;
  readonly runs: {
    readonly steps: readonly {
      readonly id?: string;
      readonly if?: string;
      readonly env?: Variables;
      readonly run: string;
    }[];
  };
}

/** What came of an action. */
export interface ActionResult {
  /** Of the first step that failed; 0 when none did. */
  readonly code: number | null;
  readonly log: string;
  readonly outputs: Variables;
}

export interface RunnerOptions {
  readonly namespace: Namespace;
  /** A folder of the test's own. */
  readonly temp: string;
  /** Environment of the job. */
  readonly env: Variables;
}

/** Runs a composite action with these inputs. Unknown inputs and expressions throw. */
export async function runAction(
  path: string,
  inputs: Variables,
  { namespace, temp, env }: RunnerOptions,
): Promise<ActionResult> {
  const action = parse(readFileSync(join(folder, path), 'utf8')) as Action;
  for (const name of Object.keys(inputs))
    if (!(name in action.inputs)) throw new Error(`${path} has no input ${name}`);
  const context = new Map<string, string>([['runner.temp', temp]]);
  for (const [name, { required, default: fallback }] of Object.entries(action.inputs)) {
    const value = inputs[name] ?? fallback;
    if (value === undefined || (required === true && inputs[name] === undefined))
      throw new Error(`the input ${name} is missing`);
    context.set(`inputs.${name}`, value);
  }
  const expand = (text: string): string =>
    text.replaceAll(/\$\{\{ *(\S+?) *\}\}/g, (_all, name: string) => {
      const value = context.get(name);
      if (value === undefined) throw new Error(`${path}: nothing is known of ${name}`);
      return value;
    });
  const holds = (condition: string | undefined, failed: boolean): boolean => {
    const parts = (condition ?? 'success()').split('&&').map((part) => part.trim());
    const always = parts.includes('always()');
    if (failed && !always) return false;
    return parts.every((part) => {
      if (part === 'always()' || part === 'success()') return true;
      const [, name = '', operator, wanted] = /^(\S+) (==|!=) '([^']*)'$/.exec(part) ?? [];
      if (operator === undefined) throw new Error(`${path}: the condition "${part}" is not understood`);
      return (context.get(name) === wanted) === (operator === '==');
    });
  };

  let code: number | null = 0;
  let log = '';
  for (const [index, step] of action.runs.steps.entries()) {
    if (!holds(step.if, code !== 0)) continue;
    const script = join(temp, `step-${index}.sh`);
    const output = join(temp, `output-${index}`);
    writeFileSync(script, expand(step.run));
    writeFileSync(output, '');
    const own = Object.entries(step.env ?? {}).map(([name, value]) => [name, expand(value)]);
    const done = await bash(namespace, ['-eo', 'pipefail', script], {
      ...env,
      ...Object.fromEntries(own),
      GITHUB_OUTPUT: output,
    });
    log += done.stdout + done.stderr;
    if (done.code !== 0 && code === 0) code = done.code;
    for (const line of readFileSync(output, 'utf8').split('\n').filter(Boolean)) {
      const [name = '', value = ''] = line.split(/=(.*)/s);
      context.set(`steps.${step.id ?? ''}.outputs.${name}`, value);
    }
  }
  const outputs = Object.entries(action.outputs ?? {}).map(([name, { value }]) => [name, expand(value)]);
  return { code, log, outputs: Object.fromEntries(outputs) as Variables };
}

/** What `!reference [JOB, KEY]` stands for. */
class Reference {
  readonly path: readonly string[];
  constructor(path: readonly string[]) {
    this.path = path;
  }
}

type Lines = readonly (string | Reference)[];

/**
 * Runs a job that extends one of the template: what comes before and the script in one shell, what comes after in
 * another one, whatever became of the first.
 */
export async function runJob(
  name: string,
  script: readonly string[],
  { namespace, temp, env }: RunnerOptions,
): Promise<{ main: RunResult; after: RunResult }> {
  const template = parse(readFileSync(join(folder, 'gitlab.yml'), 'utf8'), {
    customTags: [
      {
        tag: '!reference',
        collection: 'seq',
        resolve: (items) => new Reference((items as { toJSON(): string[] }).toJSON()),
      },
    ],
  }) as Record<string, Record<string, Lines>>;
  const lines = (job: string, key: string): string[] =>
    (template[job]?.[key] ?? []).flatMap((line) =>
      line instanceof Reference ? lines(line.path[0] ?? '', line.path[1] ?? '') : [line],
    );
  const run = (commands: readonly string[], file: string): Promise<RunResult> => {
    const path = join(temp, file);
    writeFileSync(path, commands.join('\n'));
    return bash(namespace, ['-eo', 'pipefail', path], env);
  };
  const main = await run([...lines(name, 'before_script'), ...script], 'main.sh');
  return { main, after: await run(lines(name, 'after_script'), 'after.sh') };
}

/** A shell without anybody's settings, in the namespace of the job. */
export function bash(namespace: Namespace, args: readonly string[], env: Variables): Promise<RunResult> {
  const { PATH = '', HOME = '/' } = process.env;
  return namespace.run(['bash', '--noprofile', '--norc', ...args], {
    env: { HOME, ...env, PATH: `${env['PATH'] ?? ''}:${PATH}` },
    timeoutMs: STEP_DEADLINE_MS,
    mayFail: true,
  });
}
