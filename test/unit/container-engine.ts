/** An engine in memory, for the logic of what is done to containers; the real one is asked in test/engine. */
import type { Container } from '../../src/containers/container.ts';
import { readContainer } from '../../src/containers/container.ts';
import type { Chosen, Engine } from '../../src/containers/engine.ts';
import type { EngineEvent } from '../../src/containers/events.ts';
import { NetproxyError } from '../../src/core/errors.ts';

interface Made {
  readonly id: string;
  readonly name: string;
  readonly networkMode?: string;
  readonly running?: boolean;
  readonly startedAt?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly hostConfig?: object;
  readonly config?: object;
  readonly mounts?: readonly object[];
  readonly error?: string;
  readonly image?: string;
}

/** What the engine would answer for such a container. */
export function answerFor(made: Made): Record<string, unknown> {
  const { id, name, networkMode = 'bridge', running = true, labels = {} } = made;
  return {
    Id: id,
    Name: `/${name}`,
    Image: made.image ?? 'sha256:one',
    State: {
      Running: running,
      Pid: running ? 1000 : 0,
      StartedAt: made.startedAt ?? '2026-01-01T00:00:00.5Z',
      Error: made.error ?? '',
    },
    Config: { Image: 'app:1', Labels: labels, ...made.config },
    HostConfig: { NetworkMode: networkMode, ...made.hostConfig },
    Mounts: made.mounts ?? [],
  };
}

export const container = (made: Made): Container => readContainer(answerFor(made));

/** Numbers as long as the engine's. */
export const id = (letter: string): string => letter.repeat(64);

/** Remembers every call that changes something; the call with the number `failAt` fails, and all of `failing`. */
export class MemoryEngine implements Engine {
  readonly all = new Map<string, Record<string, unknown>>();
  readonly calls: string[] = [];
  readonly formerNames = new Map<string, string>();
  readonly images = new Map<string, string>([['app:1', 'sha256:one']]);
  failAt = -1;
  failing = /^$/;
  #made = 0;
  /** Open streams of events. */
  readonly streams = new Set<{ push(event: EngineEvent): void; end(error?: Error): void }>();
  away = false;

  constructor(made: readonly Made[]) {
    for (const one of made) this.put(one);
  }

  put(made: Made): void {
    this.all.set(made.id, answerFor(made));
  }

  named(name: string): Container | undefined {
    return this.#list().find((each) => each.name === name);
  }

  #list(): Container[] {
    return [...this.all.values()].map(readContainer);
  }

  #change(call: string, container: string): Record<string, unknown> {
    this.calls.push(call);
    if (this.calls.length - 1 === this.failAt || this.failing.test(call))
      throw new NetproxyError('DOCKER_FAILED', `${call} failed`);
    const found = this.all.get(container);
    if (found === undefined) throw new NetproxyError('CONTAINER_UNKNOWN', `No such container: ${container}`);
    return found;
  }

  async inspect(reference: string): Promise<Container> {
    this.#reach();
    const found = this.#list().find((each) => each.id === reference || each.name === reference);
    if (found === undefined) throw new NetproxyError('CONTAINER_UNKNOWN', `No such container: ${reference}`);
    return found;
  }

  async containers(label?: string): Promise<readonly Container[]> {
    this.#reach();
    const [key = '', value] = (label ?? '').split('=');
    return this.#list().filter((each) => label === undefined || (each.running && each.labels[key] === value));
  }

  async imageId(name: string): Promise<string | undefined> {
    return this.images.get(name);
  }

  async formerName(gone: string): Promise<string | undefined> {
    return this.formerNames.get(gone);
  }

  async events(_chosen: Chosen, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    this.#reach();
    const waiting: EngineEvent[] = [];
    let wake = (): void => {};
    let over: { error?: Error } | undefined;
    const stream = {
      push: (event: EngineEvent): void => {
        waiting.push(event);
        wake();
      },
      end: (error?: Error): void => {
        over = error === undefined ? {} : { error };
        wake();
      },
    };
    this.streams.add(stream);
    signal.addEventListener('abort', () => stream.end());
    const { streams } = this;
    return (async function* () {
      for (;;) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (over !== undefined) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      streams.delete(stream);
      if (over.error !== undefined) throw over.error;
    })();
  }

  #reach(): void {
    if (this.away) throw new NetproxyError('DOCKER_UNREACHABLE', 'away');
  }

  async create(name: string, body: Readonly<Record<string, unknown>>): Promise<string> {
    const made = id(String(++this.#made));
    this.all.set(made, {
      ...answerFor({ id: made, name, running: false }),
      Config: body,
      HostConfig: body['HostConfig'],
    });
    try {
      this.#change(`create ${name}`, made);
    } catch (error) {
      this.all.delete(made);
      throw error;
    }
    return made;
  }

  #run(container: Record<string, unknown>, running: boolean): void {
    container['State'] = {
      Running: running,
      Pid: running ? 2000 : 0,
      StartedAt: '2026-02-01T00:00:00Z',
      Error: '',
    };
  }

  async start(container: string): Promise<void> {
    this.#run(this.#change(`start ${this.#nameOf(container)}`, container), true);
  }

  async stop({ id: stopped, name }: Container): Promise<void> {
    this.#run(this.#change(`stop ${name}`, stopped), false);
  }

  async restart({ id: restarted, name }: Container): Promise<void> {
    this.#run(this.#change(`restart ${name}`, restarted), true);
  }

  async rename(renamed: string, name: string): Promise<void> {
    this.#change(`rename ${this.#nameOf(renamed)} ${name}`, renamed)['Name'] = `/${name}`;
  }

  async remove(removed: string): Promise<void> {
    this.#change(`remove ${this.#nameOf(removed)}`, removed);
    this.all.delete(removed);
  }

  #nameOf(number: string): string {
    const found = this.all.get(number);
    return found === undefined ? number : readContainer(found).name;
  }
}
