/** Finds containers that were left in the network namespace of a provider that has another now, and repairs them. */
import { REATTACH_ROUNDS } from '../core/limits.ts';
import { NetproxyError } from '../core/errors.ts';
import { isNamed, shortId } from './container.ts';
import type { Container } from './container.ts';
import { dependentsOf, successorOf } from './dependents.ts';
import type { Dependent, NamespaceOf } from './dependents.ts';
import type { Engine } from './engine.ts';
import { recreateBody } from './recreate.ts';

interface Named {
  readonly id: string;
  readonly name: string;
}

/** What is to be done for a dependent, and whether it was. */
export interface Repair {
  readonly container: Named;
  /** Undefined when it is not known what took the place of the one that is gone. */
  readonly provider: Named | undefined;
  /** `none`: nothing can be done here. */
  readonly kind: 'restart' | 'recreate' | 'none';
  readonly why: string;
  /** What the operator has to do where it was not repaired. */
  readonly fix?: string;
  readonly done: boolean;
  readonly error?: string;
}

export interface ReattachOptions {
  readonly engine: Engine;
  readonly namespaceOf: NamespaceOf;
  readonly dryRun: boolean;
  /** The provider for dependents of one that is gone, where that cannot be found out. */
  readonly provider: string | undefined;
}

type Planned = Omit<Repair, 'container' | 'provider' | 'done' | 'error'> & {
  readonly container: Container;
  readonly provider: Container | undefined;
  readonly reference: string;
};

/**
 * Everything that needs repair, done unless `dryRun`. What fails is told in its repair, and leaves the container as
 * it was. Throws what keeps the engine from being read, and CONTAINER_UNKNOWN for a `provider` that is not there.
 */
export async function reattach(options: ReattachOptions): Promise<readonly Repair[]> {
  const { engine, dryRun } = options;
  if (options.provider !== undefined) await engine.inspect(options.provider);
  const repairs = new Map<string, Repair>();
  /** Numbers of the containers that were made in the place of others. */
  const replaced = new Map<string, string>();
  // A dependent that was repaired has another namespace, too, and may be a provider itself.
  for (let round = 0; round < REATTACH_ROUNDS; round++) {
    const planned = (await plan(options, replaced)).filter(({ container }) => !repairs.has(container.id));
    for (const one of planned) {
      const { container, provider } = one;
      const { reference: _, ...told } = one;
      repairs.set(container.id, {
        ...told,
        container: nameOf(container),
        provider: provider && nameOf(provider),
        ...(dryRun || one.kind === 'none' ? { done: false } : await perform(engine, one, replaced)),
      });
    }
    if (planned.length === 0 || dryRun) break;
  }
  return [...repairs.values()];
}

const nameOf = ({ id, name }: Container): Named => ({ id, name });

async function plan(
  { engine, namespaceOf, provider }: ReattachOptions,
  replaced: ReadonlyMap<string, string>,
): Promise<readonly Planned[]> {
  const containers = await engine.containers();
  const planned: Planned[] = [];
  for (const dependent of dependentsOf(containers, namespaceOf)) {
    const { bond, container, reference } = dependent;
    if (bond === 'alive' || bond === 'stopped') continue;
    if (bond !== 'gone') {
      planned.push({ container, reference, ...ofStarted(dependent) });
      continue;
    }
    const chosen =
      containers.find(({ id }) => id === replaced.get(reference)) ??
      (provider === undefined
        ? successorOf(dependent, containers, await engine.formerName(reference))
        : containers.find((each) => isNamed(each, provider)));
    planned.push({ container, reference, ...ofGone(dependent, chosen) });
  }
  return planned;
}

type Advice = Pick<Planned, 'kind' | 'why' | 'provider'> & { readonly fix?: string };

function ofStarted({ bond, provider, container }: Dependent): Advice {
  const name = provider?.name ?? '';
  if (bond === 'provider-stopped') {
    return {
      ...{ provider, kind: 'none', why: `${name}, whose network it shares, does not run` },
      fix: `Start it (docker start ${name}), then run this again.`,
    };
  }
  const why = container.running
    ? `${name} was started again and has another network namespace`
    : `the engine could not start it: ${container.error}`;
  return { provider, kind: 'restart', why };
}

function ofGone({ container, reference }: Dependent, provider: Container | undefined): Advice {
  const why = `${shortId(reference)}, whose network it shares, is gone`;
  if (provider === undefined || provider.id === container.id || !provider.running) {
    const unfit =
      provider === undefined
        ? 'and what took its place is not known'
        : `and ${provider.name} cannot take its place`;
    return {
      ...{ provider: undefined, kind: 'none', why: `${why}, ${unfit}` },
      fix: 'Name the running container that did: netproxy reattach NAME.',
    };
  }
  if (container.autoRemove) {
    return {
      ...{
        provider,
        kind: 'none',
        why: `${why}, and it was started with --rm: it could not be put back after a failure`,
      },
      fix: `Start it anew with --network container:${provider.name}.`,
    };
  }
  return { provider, kind: 'recreate', why: `${why}; ${provider.name} took its place` };
}

async function perform(
  engine: Engine,
  { container, kind, provider, reference }: Planned,
  replaced: Map<string, string>,
): Promise<Pick<Repair, 'done' | 'error' | 'fix'>> {
  try {
    if (kind === 'restart') await engine.restart(container);
    else replaced.set(container.id, await recreate(engine, container, provider!, reference));
    return { done: true };
  } catch (error) {
    const { message, hint } = error as Partial<NetproxyError>;
    return { done: false, error: message ?? String(error), ...(hint === undefined ? {} : { fix: hint }) };
  }
}

/**
 * Makes the container anew beside the old one, then swaps the two by their names. The old one is removed only once
 * the new one has started; whatever fails before is undone. Gives the number of the new one.
 */
async function recreate(engine: Engine, old: Container, provider: Container, gone: string): Promise<string> {
  const mark = shortId(old.id);
  const same = (await engine.imageId(old.image)) === old.imageId;
  const body = recreateBody(old, { image: same ? old.image : old.imageId, gone, provider: provider.id });
  const id = await engine.create(`${old.name}.new-${mark}`, body);
  /** The last comes first. */
  const undo: (() => Promise<void>)[] = [() => engine.remove(id)];
  try {
    if (old.running) {
      undo.unshift(() => engine.start(old.id));
      await engine.stop(old);
    }
    await engine.rename(old.id, `${old.name}.old-${mark}`);
    undo.unshift(() => engine.rename(old.id, old.name));
    await engine.rename(id, old.name);
    undo.unshift(() => engine.rename(id, `${old.name}.new-${mark}`));
    await engine.start(id);
  } catch (error) {
    throw await undone(error, undo);
  }
  await engine.remove(old.id).catch((error: NetproxyError) => {
    throw new NetproxyError('REATTACH_FAILED', `repaired, but the old container stays: ${error.message}`, {
      cause: error,
      hint: `Remove it by hand: docker rm ${old.name}.old-${mark}.`,
    });
  });
  return id;
}

/** What went wrong, with everything that could not be put back. */
async function undone(error: unknown, undo: readonly (() => Promise<void>)[]): Promise<Error> {
  const left: string[] = [];
  for (const step of undo) {
    try {
      await step();
    } catch (cause) {
      left.push((cause as Error).message);
    }
  }
  const { message } = error as Error;
  if (left.length === 0) return error as Error;
  return new NetproxyError('REATTACH_FAILED', `${message}; putting it back failed, too: ${left.join('; ')}`, {
    cause: error,
  });
}
