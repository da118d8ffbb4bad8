/** What the containers of an engine have to do with netproxy, for people. */
import type { Container } from './container.ts';
import { dependentsOf } from './dependents.ts';
import type { Bond, NamespaceOf } from './dependents.ts';

export interface Surveyed {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  /**
   * `attached`: "netproxy attach" is to carry its traffic, or does; `provider`: others share its network namespace;
   * `dependent`: it shares that of another.
   */
  readonly role: 'attached' | 'provider' | 'dependent';
  /** Name of the provider, or what is left of it. */
  readonly provider?: string;
  /** Of its network namespace. */
  readonly namespace: Bond | 'own';
  readonly health?: string;
  /** Number of the network namespace; undefined where that cannot be seen. */
  readonly netns?: string;
}

/**
 * The ids of those that "netproxy attach" is to carry, by their label, or carries: a netproxy listens for their
 * namespace, of which `listens` is told the number.
 */
export async function attachedOf(
  containers: readonly Container[],
  label: string,
  namespaceOf: NamespaceOf,
  listens: (number: string) => Promise<boolean>,
): Promise<ReadonlySet<string>> {
  const attached = new Set<string>();
  for (const container of containers) {
    const number = namespaceOf(container);
    if (container.labels[label] === 'true' || (number !== undefined && (await listens(number))))
      attached.add(container.id);
  }
  return attached;
}

/** Every container that is attached, provides a network or shares one; the order is that of the names. */
export function survey(
  containers: readonly Container[],
  isAttached: (container: Container) => boolean,
  namespaceOf: NamespaceOf,
): readonly Surveyed[] {
  const dependents = new Map(
    dependentsOf(containers, namespaceOf).map((dependent) => [dependent.container.id, dependent]),
  );
  const providers = new Set([...dependents.values()].flatMap(({ provider }) => provider?.id ?? []));
  const found = containers.flatMap((container): Surveyed[] => {
    const { id, name, running, health } = container;
    const dependent = dependents.get(id);
    const attached = isAttached(container);
    if (dependent === undefined && !attached && !providers.has(id)) return [];
    const netns = namespaceOf(container);
    return [
      {
        ...{ id, name, running },
        role: dependent !== undefined ? 'dependent' : attached ? 'attached' : 'provider',
        ...(dependent === undefined ? {} : { provider: dependent.provider?.name ?? dependent.reference }),
        namespace: dependent?.bond ?? (running ? 'own' : 'stopped'),
        ...(health === undefined ? {} : { health }),
        ...(netns === undefined ? {} : { netns }),
      },
    ];
  });
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
