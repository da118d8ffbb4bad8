/** Every command that the pages for operators show, as they show it, beside a netproxy that runs. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Connections } from '../../src/control/connections.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const PAGES = ['operations', 'troubleshooting', 'metrics'];
/** Have tests of their own: a terminal is needed, and a netproxy that is gone. */
const ELSEWHERE: ReadonlySet<string> = new Set(['netproxy top', 'netproxy release']);
/** Print nothing where there is nothing to tell. */
const SILENT: ReadonlySet<string> = new Set([
  'netproxy plan',
  `netproxy logs --json | grep -E '"result":"(prohibited|host-unreachable)"' || true`,
]);

let world: World;
let netproxy: Netproxy;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'netproxy-handbook-'));
  const main = join(import.meta.dirname, '../../dist/main.js');
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin/netproxy'), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(join(folder, 'bin/netproxy'), 0o755);
  world = await World.create();
  netproxy = world.netproxy();
  await netproxy.ready();
  void world.client('keep', LAB.target.v4, PORTS.echo, 100).catch(() => {});
});
after(async () => {
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Lines of the blocks of shell, without those for outside of the namespace. */
function commandsOf(page: string): string[] {
  const text = readFileSync(new URL(`../../docs/${page}.md`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!);
  return blocks.flatMap((block) => block.split('\n').filter((line) => line !== ''));
}

async function idOfOne(): Promise<number> {
  let id: number | undefined;
  await waitFor('a connection', async () => {
    const { connections } = JSON.parse(await world.command('connections', '--json')) as Connections;
    id = connections[0]?.id;
    return id !== undefined;
  });
  return id!;
}

for (const page of PAGES) {
  for (const line of commandsOf(page)) {
    if (ELSEWHERE.has(line)) continue;
    test(`${page}: ${line}`, async () => {
      const id = line.includes('--kill') ? await idOfOne() : 0;
      // What goes on until a signal gets one.
      const endless = /--(watch|follow)/.test(line);
      const own = line.replace(/--kill \d+/, `--kill ${id}`).replaceAll('/tmp/', `${folder}/`);
      // One netproxy of many namespaces that share /run, on the machine of the tests.
      const socket = '/run/netproxy/$(readlink /proc/self/ns/net | tr -dc 0-9).sock';
      const script = own.replace('/run/netproxy/*.sock', socket);
      const argv = ['sh', '-c', endless ? `timeout -s INT 15 sh -c 'exec ${script}'` : script];
      const path = `${join(folder, 'bin')}:${process.env['PATH']}`;
      const { code, stdout, stderr } = await world.lab.app.run(argv, {
        ...{ env: { ...process.env, PATH: path }, mayFail: true, timeoutMs: 60_000 },
      });
      // timeout(1) says 124 when it had to send the signal.
      assert.ok(code === 0 || (endless && code === 124), `${code}\n${stdout}${stderr}`);
      if (!SILENT.has(line)) assert.notEqual(stdout, '');
    });
  }
}

test('what plan has to do beside a netproxy that runs is nothing', async () => {
  assert.match(await world.command('plan', '--json'), /"steps":\[\]/);
});

test('after a kill the namespace is closed, and released by the command that the page shows', async () => {
  await netproxy.stop('SIGKILL');
  assert.ok(commandsOf('troubleshooting').includes('netproxy release'));
  await world.command('release');
  assert.match(await world.command('plan'), /tun0/);
});
