/** Containers on a machine whose only way to the target is a bastion, and netproxy on the machine, beside the engine. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IMAGES, startEngine } from '../lab/engine.ts';
import type { Engine, EngineBuild } from '../lab/engine.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from '../netns/ports.ts';
import { Netproxy, World } from '../netns/world.ts';
import { main } from './netproxy.ts';

/** Serves its name at port 80, until it is killed. */
const SERVE = 'require("http").createServer((_, answer) => answer.end(process.env.NAME)).listen(80, "::")';

/** Prints what a server says: the answer of an HTTP server, or of one that sends back what it gets; or the errno. */
const CONNECT = `
const [host, port, text, patienceMs] = process.argv.slice(1);
const socket = require('net').connect(Number(port), host, () => socket.write(text));
socket.setTimeout(Number(patienceMs), () => { console.log('ETIMEDOUT'); process.exit(); });
socket.on('data', (data) => { console.log(String(data).split('\\r\\n\\r\\n').pop()); process.exit(); });
socket.on('error', ({ code }) => { console.log(code); process.exit(); });
`;

/** Milliseconds that an answer may take, on a busy machine; and after which there is none to be expected. */
const ANSWER_MS = 20_000;
const SILENCE_MS = 2_000;

/** Deadline of what needs the engine, netproxy and logins, of many containers at once. */
const READY_MS = 180_000;

export class AttachLab {
  readonly world: World;
  readonly engine: Engine;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'netproxy-attach-'));
  readonly #started: Netproxy[] = [];

  constructor(world: World, engine: Engine) {
    this.world = world;
    this.engine = engine;
  }

  static async create(build?: EngineBuild): Promise<AttachLab> {
    const world = await World.create();
    try {
      const engine = await startEngine(world.lab.app, build === undefined ? {} : { build });
      await engine.docker(['network', 'create', 'shared']);
      return new AttachLab(world, engine);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** Starts a container that serves its name at port 80. */
  async container(name: string, ...words: string[]): Promise<void> {
    const network = words.some((word) => word.startsWith('--network')) ? [] : ['--network', 'shared'];
    const run = ['run', '--detach', '--name', name, '--stop-signal', 'KILL', '--env', `NAME=${name}`];
    await this.engine.docker([...run, ...network, ...words, IMAGES.node, 'node', '-e', SERVE]);
  }

  /** `netproxy attach` on the machine, with the flags of the world's bastion. */
  attach(args: readonly string[], env: NodeJS.ProcessEnv = {}): Netproxy {
    return this.bare([...args, ...this.world.flags], env);
  }

  /** The same with these arguments only. */
  bare(args: readonly string[], env: NodeJS.ProcessEnv = {}): Netproxy {
    const child = this.engine.machine.spawn([process.execPath, main, 'attach', ...args], {
      env: { ...this.engine.environment, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const started = new Netproxy(child);
    this.#started.push(started);
    return started;
  }

  /** A configuration with the bastion under each of these names. */
  config(names: readonly string[], more = ''): string {
    const { user, address, port, clientKeyFile, knownHostsFile } = this.world.sshd;
    const bastions = names.map(
      (name) =>
        `  - { name: ${name}, host: ${address}, port: ${port}, user: ${user}, identityFile: ${clientKeyFile}, knownHostsFile: ${knownHostsFile} }\n`,
    );
    const file = join(this.folder, 'netproxy.yaml');
    writeFileSync(file, `bastions:\n${bastions.join('')}${more}`);
    return file;
  }

  /** Waits until netproxy says on stdout that it carries these containers; again for those that it carried before. */
  async carries(netproxy: Netproxy, ...names: string[]): Promise<void> {
    const lacking = (): string[] =>
      names.filter((name) => !new RegExp(`^${name}: netproxy is ready`, 'm').test(netproxy.stdout));
    await waitFor(
      `${names.length} containers to be carried`,
      () => {
        assert.equal(netproxy.child.exitCode, null, netproxy.stderr);
        return lacking().length === 0;
      },
      READY_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${lacking().join()}\n${netproxy.stderr.slice(-4000)}`);
    });
    // For the next time.
    netproxy.stdout = '';
  }

  /** What a connection out of a container comes to. */
  async connect(
    container: string,
    host: string,
    port: number,
    { text = 'hello', patienceMs = ANSWER_MS } = {},
  ): Promise<string> {
    const { stdout } = await this.engine.exec(container, [
      ...['node', '-e', CONNECT, host, String(port), text, String(patienceMs)],
    ]);
    return stdout.trim();
  }

  /** Fails when the container reaches the target. */
  async reachesNothing(container: string): Promise<void> {
    const answer = await this.connect(container, LAB.target.v4, PORTS.echo, { patienceMs: SILENCE_MS });
    assert.match(answer, /^E[A-Z]+$/);
  }

  /** The target, which nothing but the bastion reaches. */
  target(container: string): Promise<string> {
    return this.connect(container, LAB.target.v4, PORTS.echo);
  }

  /** What a container serves, by its name or address, asked by another. */
  served(by: string, host: string): Promise<string> {
    return this.connect(by, host, 80, { text: 'GET / HTTP/1.0\r\n\r\n' });
  }

  async pid(container: string): Promise<number> {
    return this.engine.inspect(container, '.State.Pid');
  }

  /** Number of a container's network namespace (namespaces(7)). */
  async namespace(container: string): Promise<number> {
    return statSync(`/proc/${await this.pid(container)}/ns/net`).ino;
  }

  /** Routes, rules and filter of a container's namespace. */
  async network(container: string): Promise<string> {
    const script =
      'ip -o -d link show tun0 2>/dev/null | cut -c1-40; for f in 4 6; do ip -$f route show table all; ip -$f rule; done; nft -s list tables';
    const enter = ['nsenter', `--net=/proc/${await this.pid(container)}/ns/net`, '--'];
    const { stdout } = await this.engine.machine.run([...enter, 'sh', '-c', script]);
    return stdout.replaceAll(/ expires \d+sec/g, '');
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((netproxy) => netproxy.stop('SIGKILL')));
    await this.engine.stop();
    await this.world.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
