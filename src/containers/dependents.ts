/** Containers in the network namespace of another (`network_mode: service:X`), and whether that still lives. Pure. */
import { isNamed, joined, startedAfter } from './container.ts';
import type { Container } from './container.ts';

/** How a dependent and its provider stand. */
export type Bond =
  /** It is in the namespace of its provider. */
  | 'alive'
  /** The provider was started again and has another namespace: in that of the dependent there is nothing left. */
  | 'orphaned'
  /** There is no such container any more: the dependent cannot even be started again. */
  | 'gone'
  /** The provider does not run. */
  | 'provider-stopped'
  /** The dependent does not run, and was not meant to. */
  | 'stopped';

export interface Dependent {
  readonly container: Container;
  /** As `network_mode` names it. */
  readonly reference: string;
  /** Undefined when there is none of this number or name. */
  readonly provider: Container | undefined;
  readonly bond: Bond;
}

/**
 * The number of a container's network namespace; undefined where it cannot be seen, as from another machine or
 * PID namespace.
 */
export type NamespaceOf = (container: Container) => string | undefined;

/** Every dependent among `containers`, which are all of the engine. */
export function dependentsOf(
  containers: readonly Container[],
  namespaceOf: NamespaceOf,
): readonly Dependent[] {
  return containers.flatMap((container) => {
    const reference = joined(container.networkMode);
    if (reference === undefined) return [];
    const provider = containers.find((each) => isNamed(each, reference));
    return [{ container, reference, provider, bond: bondOf(container, provider, namespaceOf) }];
  });
}

function bondOf(dependent: Container, provider: Container | undefined, namespaceOf: NamespaceOf): Bond {
  // One that the engine tried to start, and could not, is meant to run.
  if (!dependent.running && dependent.error === '') return 'stopped';
  if (provider === undefined) return 'gone';
  if (!provider.running) return 'provider-stopped';
  if (!dependent.running) return 'orphaned';
  const [own, its] = [namespaceOf(dependent), namespaceOf(provider)];
  if (own !== undefined && its !== undefined) return own === its ? 'alive' : 'orphaned';
  // Whoever starts enters the namespace that the provider has then.
  return startedAfter(provider, dependent) ? 'orphaned' : 'alive';
}

const PROJECT = 'com.docker.compose.project';
const SERVICE = 'com.docker.compose.service';
/** `SERVICE:CONDITION:RESTART`, with commas between. */
const DEPENDS_ON = 'com.docker.compose.depends_on';
/** Compose 1 puts this before the name of a container that it is about to replace. */
const REPLACED = /^[0-9a-f]{12}_/;

/**
 * What took the place of a provider that is gone: the container that now has its name (`formerName`, as far as the
 * engine remembers), or the one service of Compose's that the dependent depends on. Undefined when that is
 * not certain.
 */
export function successorOf(
  { container, reference }: Dependent,
  containers: readonly Container[],
  formerName: string | undefined,
): Container | undefined {
  const able = containers.filter(
    (each) => each.id !== container.id && each.running && joined(each.networkMode) === undefined,
  );
  const name = formerName?.replace(REPLACED, '');
  const named = able.find((each) => each.name === name || each.name === reference);
  if (named !== undefined) return named;
  const project = container.labels[PROJECT];
  const services = (container.labels[DEPENDS_ON] ?? '').split(',').map((each) => each.split(':')[0]);
  if (project === undefined) return undefined;
  const candidates = able.filter(
    ({ labels }) => labels[PROJECT] === project && services.includes(labels[SERVICE] ?? ''),
  );
  return candidates.length === 1 ? candidates[0] : undefined;
}
