/**
 * A machine with a container engine, a bastion that its containers reach by NAT, and a target that only the bastion
 * reaches. Names that are asked on the machine's side get one address and those at the far end another, so that the
 * answer itself tells who was asked.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { IMAGES, startEngine } from '../lab/engine.ts';
import type { Engine, EngineBuild, Project } from '../lab/engine.ts';
import { createLab, LAB, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { LeakOracle } from '../lab/oracle.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';

export const templates = resolve(import.meta.dirname, '../../docker/compose');
export const application = join(import.meta.dirname, 'app.ts');
const targetServer = resolve(import.meta.dirname, '../netns/target.ts');

/** The bastion's name, which the machine's resolver knows. */
export const BASTION_NAME = 'bastion.example';

/** The echo server's port may be reached, and others may not. */
export const SSHD_CONFIG: readonly string[] = [
  'Subsystem sftp internal-sftp',
  `PermitOpen *:${PORTS.echo} *:53 *:22`,
];

/** What the application says, see app.ts. */
export interface Said {
  readonly code?: string;
  readonly echo?: string;
  readonly from?: string;
  readonly addresses?: readonly string[];
  readonly status?: number;
  readonly text?: string;
}

export interface ProjectOverrides {
  readonly env?: Readonly<Record<string, string>>;
  /** The service that is the application. */
  readonly service?: string;
  /** Words of app.ts; it serves by default. */
  readonly command?: readonly string[];
  /** Further lines of YAML of a file that is laid over the template. */
  readonly over?: string;
  /** Services whose image has a HEALTHCHECK, which is made every second here. */
  readonly probed?: string;
}

export class Site {
  readonly lab: Lab;
  readonly sshd: Sshd;
  readonly engine: Engine;
  readonly folder: string;
  readonly #children: readonly ChildProcess[];
  readonly #near: { text: string };
  #serial = 0;

  private constructor(
    lab: Lab,
    sshd: Sshd,
    engine: Engine,
    folder: string,
    children: readonly ChildProcess[],
    near: { text: string },
  ) {
    this.lab = lab;
    this.sshd = sshd;
    this.engine = engine;
    this.folder = folder;
    this.#children = children;
    this.#near = near;
  }

  static async create(build?: EngineBuild): Promise<Site> {
    const lab = await createLab();
    const folder = mkdtempSync(join(tmpdir(), 'netproxy-engine-'));
    mkdirSync(`/etc/netns/${lab.bastion.name}`, { recursive: true });
    writeFileSync(`/etc/netns/${lab.bastion.name}/resolv.conf`, `nameserver ${LAB.target.v4}\n`);
    const sshd = await startSshd({
      netns: lab.bastion.name,
      address: LAB.bastion.v4,
      port: 22,
      etc: true,
      names: [BASTION_NAME],
      config: SSHD_CONFIG,
    });
    const target = lab.target.spawn([process.execPath, targetServer], { stdio: 'ignore' });
    await waitForPort(lab.target, PORTS.echo);
    const far = await dnsmasq(lab.target, [LAB.target.v4], `--address=/#/${SAYS.far}`);
    const near = { text: '' };
    const nearServer = lab.bastion.spawn(
      [
        'dnsmasq',
        ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root'],
        ...['--pid-file=', '--bind-interfaces', '--log-queries', '--log-facility=-'],
        ...[`--listen-address=${LAB.bastion.v4}`, `--host-record=${BASTION_NAME},${LAB.bastion.v4}`],
        `--address=/#/${SAYS.near}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    nearServer.stderr!.setEncoding('utf8').on('data', (text: string) => (near.text += text));
    await waitForPort(lab.bastion, 53);
    const engine = await startEngine(lab.app, {
      ...(build === undefined ? {} : { build }),
      resolvConf: `nameserver ${LAB.bastion.v4}\n`,
    });
    const children = [target, far, nearServer];
    for (const child of children) child.unref();
    return new Site(lab, sshd, engine, folder, children, near);
  }

  /** Names that the machine's resolver has been asked for so far. */
  get askedNear(): readonly string[] {
    return [...this.#near.text.matchAll(/query\[\w+\] (\S+) from/g)].map((match) => match[1]!);
  }

  /** What the templates ask for; the bastion by name. */
  get settings(): Record<string, string> {
    const { user, clientKeyFile, knownHostsFile } = this.sshd;
    const files = { KEY_FILE: clientKeyFile, KNOWN_HOSTS_FILE: knownHostsFile };
    return { BASTION: `ssh://${user}@${BASTION_NAME}`, ...files, HOME: this.folder };
  }

  /** A template with the application of tests in it. */
  template(file: string, overrides: ProjectOverrides = {}): Project {
    const { service = 'app', command = [], over = '', probed = 'netproxy', env = {} } = overrides;
    const serial = ++this.#serial;
    const override = join(this.folder, `${serial}.yaml`);
    const words = JSON.stringify(['node', '/app.ts', ...command]);
    writeFileSync(
      override,
      `services:
  ${service}:
    image: ${IMAGES.node}
    command: ${words}
    volumes: ["${application}:/app.ts:ro"]
  ${probed}:
    healthcheck: { interval: 1s, retries: 2 }
`,
    );
    const files = [join(templates, file), override];
    if (over !== '') {
      writeFileSync(join(this.folder, `${serial}-over.yaml`), over);
      files.push(join(this.folder, `${serial}-over.yaml`));
    }
    return this.engine.project({ name: `t${serial}`, files, env: { ...this.settings, ...env } });
  }

  /** Runs app.ts in a container, by `docker exec`. */
  async app(container: string, ...words: string[]): Promise<Said> {
    const { stdout, stderr } = await this.engine.exec(container, ['node', '/app.ts', ...words]);
    if (stdout === '') throw new Error(`the application said nothing: ${stderr}`);
    return JSON.parse(stdout) as Said;
  }

  /** Looks at everything that a container sends on its first network, from the machine's side. */
  async oracle(container: string): Promise<LeakOracle> {
    interface Endpoint {
      readonly MacAddress: string;
      readonly NetworkID: string;
    }
    const endpoints = await this.engine.inspect<Record<string, Endpoint>>(
      container,
      '.NetworkSettings.Networks',
    );
    const [endpoint] = Object.values(endpoints);
    if (endpoint === undefined) throw new Error(`${container} is on no network`);
    const subnets = await this.engine.inspect<{ Subnet: string }[]>(endpoint.NetworkID, '.IPAM.Config');
    const bridge = `br-${endpoint.NetworkID.slice(0, 12)}`;
    const pid = await this.engine.inspect<number>(container, '.State.Pid');
    const { stdout } = await this.lab.app.run([
      'nsenter',
      `--net=/proc/${pid}/ns/net`,
      'ip',
      '-o',
      'link',
      'show',
      'eth0',
    ]);
    const peer = /eth0@if(\d+):/.exec(stdout)?.[1];
    const devices = await this.lab.app.ipJson<{ ifindex: number; ifname: string }[]>('link');
    const device = devices.find(({ ifindex }) => String(ifindex) === peer)?.ifname;
    if (device === undefined) throw new Error(`no device of ${bridge} is that of ${container}`);
    return await LeakOracle.start({
      namespace: this.lab.app,
      device,
      link: bridge,
      inside: [endpoint.MacAddress],
      bastion: { address: LAB.bastion.v4, port: 22 },
      local: subnets.map(({ Subnet }) => Subnet),
    });
  }

  /** A known_hosts file with the bastion's host key under other names. */
  knownHosts(...names: string[]): string {
    const file = join(this.folder, `known_hosts-${names.join('-')}`);
    const key = readFileSync(`${this.sshd.hostKeyFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
    writeFileSync(file, `${names.join(',')} ${key}\n`);
    return file;
  }

  /** Ends all that was started here. */
  async close(): Promise<void> {
    await this.engine.stop();
    for (const child of this.#children) child.kill();
    await this.sshd.stop();
    await this.lab.cleanup();
    rmSync(`/etc/netns/${this.lab.bastion.name}`, { recursive: true, force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }
}
