/** The container engine, as far as it is needed here: dockerode behind an interface of its own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';

import { CONTAINERS_INSPECTED_AT_ONCE, ENGINE_ANSWER_DEADLINE_MS, ENGINE_STOP_S } from '../core/limits.ts';
import { NetproxyError } from '../core/errors.ts';
import { readContainer } from './container.ts';
import type { Container, Passed } from './container.ts';
import { readEvents } from './events.ts';
import type { EngineEvent } from './events.ts';
import { engineFailure } from './failure.ts';
import { engineAddress } from './host.ts';
import type { EngineAddress } from './host.ts';

const MS_PER_S = 1000;

/** Of Docker 20.10, the oldest that this was tried with. */
export const API_MIN = '1.41';

/** Containers that have a label `KEY=VALUE`, or one alone, by its number. */
export type Chosen = { readonly label: string } | { readonly container: string };

/** Every call rejects with a NetproxyError. */
export interface Engine {
  /** Throws CONTAINER_UNKNOWN. */
  inspect(reference: string): Promise<Container>;
  /** All containers, or those that run and have a label `KEY=VALUE`. What is removed meanwhile is not among them. */
  containers(label?: string): Promise<readonly Container[]>;
  /** Number of the image that has this name now; undefined when there is none. */
  imageId(name: string): Promise<string | undefined>;
  /** The name that a container had which is gone, as long as the engine remembers. */
  formerName(id: string): Promise<string | undefined>;
  /** Starts and ends of containers, until `signal` or the end of the connection. Throws once that is lost. */
  events(chosen: Chosen, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>;
  /** Gives the number of the new container. */
  create(name: string, body: Passed): Promise<string>;
  start(id: string): Promise<void>;
  /** Both give it the time to stop that it asks for. */
  stop(container: Container): Promise<void>;
  restart(container: Container): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  /** Leaves its volumes. */
  remove(id: string): Promise<void>;
}

/**
 * The engine that the environment names (DOCKER_HOST). Throws DOCKER_UNREACHABLE, DOCKER_REFUSED and DOCKER_TOO_OLD.
 * Loads dockerode, which nothing else may pay for.
 */
export async function openEngine(environment: Readonly<Record<string, string | undefined>>): Promise<Engine> {
  const address = engineAddress(environment);
  const { default: Dockerode } = await import('dockerode');
  const engine = new DockerEngine(new Dockerode(await optionsOf(address)), address.text);
  await engine.version();
  return engine;
}

async function optionsOf(address: EngineAddress): Promise<Docker.DockerOptions> {
  if (address.kind === 'socket') return { socketPath: address.path };
  const { host, port, certificates: folder } = address;
  if (folder === undefined) return { protocol: 'http', host, port };
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(folder, name), 'utf8');
    } catch (error) {
      throw engineFailure(error, `reading ${join(folder, name)}`, address.text);
    }
  };
  // One after the other, so that of several that are missing always the same one is named.
  const ca = await read('ca.pem');
  const cert = await read('cert.pem');
  const key = await read('key.pem');
  return { protocol: 'https', host, port, ca, cert, key };
}

class DockerEngine implements Engine {
  readonly #docker: Docker;
  readonly #where: string;

  constructor(docker: Docker, where: string) {
    this.#docker = docker;
    this.#where = where;
  }

  /** What it says of itself, such as `28.5.2`. Throws DOCKER_TOO_OLD. */
  async version(): Promise<string> {
    const { Version: version, ApiVersion: api } = await this.#ask('GET /version', () =>
      this.#docker.version(),
    );
    if (!isAtLeast(api, API_MIN)) {
      throw new NetproxyError(
        'DOCKER_TOO_OLD',
        `${this.#where}: engine ${version} speaks version ${api} of the API; at least ${API_MIN} is needed`,
      );
    }
    return version;
  }

  async inspect(reference: string): Promise<Container> {
    const path = `GET /containers/${reference}/json`;
    return readContainer(
      await this.#ask(path, (abortSignal) =>
        this.#docker.getContainer(encodeURIComponent(reference)).inspect({ abortSignal }),
      ),
    );
  }

  async containers(label?: string): Promise<readonly Container[]> {
    const filters = label === undefined ? {} : { label: [label] };
    const listed = await this.#ask('GET /containers/json', (abortSignal) =>
      this.#docker.listContainers({ all: label === undefined, filters, abortSignal }),
    );
    const found: (Container | undefined)[] = listed.map(() => undefined);
    const waiting = [...listed.entries()];
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const [index, { Id: id }] = next;
        found[index] = await this.inspect(id).catch(ignoreUnknown);
      }
    };
    await Promise.all(Array.from({ length: CONTAINERS_INSPECTED_AT_ONCE }, work));
    return found.filter((each) => each !== undefined);
  }

  async imageId(name: string): Promise<string | undefined> {
    try {
      const { Id: id } = await this.#ask(`GET /images/${name}/json`, () =>
        this.#docker.getImage(name).inspect(),
      );
      return id;
    } catch (error) {
      if (error instanceof NetproxyError && (error.cause as { statusCode?: number }).statusCode === 404)
        return undefined;
      throw error;
    }
  }

  async formerName(id: string): Promise<string | undefined> {
    const signal = AbortSignal.timeout(ENGINE_ANSWER_DEADLINE_MS);
    const until = Math.ceil(Date.now() / MS_PER_S);
    const filters = { type: ['container' as const], container: [id], event: ['destroy'] };
    const stream = await this.#ask('GET /events', () =>
      this.#docker.getEvents({ since: 1, until, filters, abortSignal: signal }),
    );
    let name: string | undefined;
    for await (const event of readEvents(stream)) if (event.name !== '') ({ name } = event);
    return name;
  }

  async events(chosen: Chosen, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const which = 'label' in chosen ? { label: [chosen.label] } : { container: [chosen.container] };
    const filters = { type: ['container' as const], ...which, event: ['start', 'die', 'destroy'] };
    const stream = await this.#ask('GET /events', () =>
      this.#docker.getEvents({ filters, abortSignal: signal }),
    );
    return readEvents(stream);
  }

  async create(name: string, body: Passed): Promise<string> {
    // By itself dockerode would put the body into the query as well, and with it the environment into logs.
    const { id } = await this.#ask('POST /containers/create', (abortSignal) =>
      this.#docker.createContainer({ ...{ _query: { name }, _body: body }, abortSignal }),
    );
    return id;
  }

  async start(id: string): Promise<void> {
    await this.#ask(`POST /containers/${id}/start`, (abortSignal) =>
      this.#docker.getContainer(id).start({ abortSignal }),
    );
  }

  async stop({ id, stopTimeout }: Container): Promise<void> {
    await this.#ask(
      `POST /containers/${id}/stop`,
      (abortSignal) => this.#docker.getContainer(id).stop({ abortSignal }),
      stopTimeout ?? ENGINE_STOP_S,
    );
  }

  async restart({ id, stopTimeout }: Container): Promise<void> {
    await this.#ask(
      `POST /containers/${id}/restart`,
      (abortSignal) => this.#docker.getContainer(id).restart({ abortSignal }),
      stopTimeout ?? ENGINE_STOP_S,
    );
  }

  async rename(id: string, name: string): Promise<void> {
    await this.#ask(`POST /containers/${id}/rename`, (abortSignal) =>
      this.#docker.getContainer(id).rename({ name, abortSignal }),
    );
  }

  async remove(id: string): Promise<void> {
    await this.#ask(`DELETE /containers/${id}`, (abortSignal) =>
      this.#docker.getContainer(id).remove({ v: false, abortSignal }),
    );
  }

  /** One request; `extraS` are seconds that the engine itself may wait. */
  async #ask<T>(what: string, request: (signal: AbortSignal) => Promise<T>, extraS = 0): Promise<T> {
    try {
      return await request(AbortSignal.timeout(ENGINE_ANSWER_DEADLINE_MS + extraS * MS_PER_S));
    } catch (error) {
      throw engineFailure(error, what, this.#where);
    }
  }
}

function ignoreUnknown(error: unknown): undefined {
  if (error instanceof NetproxyError && error.code === 'CONTAINER_UNKNOWN') return;
  throw error;
}

/** Of versions as `1.41`. */
function isAtLeast(version: string, least: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
