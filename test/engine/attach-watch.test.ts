/** `netproxy attach --watch` on a real engine: containers as they come and go, many at once, and the engine itself. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { waitFor } from '../lab/namespaces.ts';
import type { Netproxy } from '../netns/world.ts';
import { AttachLab } from './attach-lab.ts';
import { netproxy } from './netproxy.ts';

const LABEL = ['--label', 'netproxy.enable=true'];
/** As many as an engine of a small team runs. */
const MANY = 20;

describe('containers with a label', () => {
  let lab: AttachLab;
  let watching: Netproxy | undefined;
  before(async () => {
    lab = await AttachLab.create();
    await lab.container('lone');
  });
  afterEach(async () => {
    await watching?.stop('SIGKILL');
    watching = undefined;
    const { stdout } = await lab.engine.docker([
      'ps',
      '--all',
      '--quiet',
      '--filter',
      'label=netproxy.enable',
    ]);
    const left = stdout.split('\n').filter(Boolean);
    if (left.length > 0) await lab.engine.docker(['rm', '--force', ...left]);
  });
  after(() => lab?.close());

  const log = (): string => watching?.stderr ?? '';

  test('are carried while they run, through starts, crashes and restarts', async () => {
    await lab.container('early', ...LABEL);
    const untouched = await lab.network('early');
    watching = lab.attach(['--watch']);
    await lab.carries(watching, 'early');
    await lab.container('late', ...LABEL);
    await lab.carries(watching, 'late');
    assert.deepEqual(await Promise.all([lab.target('early'), lab.target('late')]), ['hello', 'hello']);
    await lab.reachesNothing('lone');

    await lab.engine.docker(['restart', 'late']);
    await lab.carries(watching, 'late');
    assert.equal(await lab.target('late'), 'hello');
    await lab.engine.docker(['kill', '--signal', 'KILL', 'late']);
    await waitFor('its end to be seen', () => /late: detached/.test(log()), 30_000);
    await lab.engine.docker(['start', 'late']);
    await lab.carries(watching, 'late');
    assert.equal(await lab.target('late'), 'hello');

    assert.equal(await watching.stop(), 0);
    assert.equal(await lab.network('early'), untouched);
    assert.doesNotMatch(await lab.network('late'), /tun0|netproxy/);
  });

  test('have their own bastion and rules, and one with a wrong label fails alone', async () => {
    await lab.container('office', ...LABEL, '--label', 'netproxy.bastion=office');
    await lab.container('strict', ...LABEL, '--label', 'netproxy.rules={ to: ["0.0.0.0/0"], via: reject }');
    await lab.container('wrong', ...LABEL, '--label', 'netproxy.bastion=offic');
    watching = lab.bare(['--watch', '-c', lab.config(['main', 'office'])]);
    await lab.carries(watching, 'office', 'strict');
    assert.equal(await lab.target('office'), 'hello');
    assert.equal(await lab.target('strict'), 'ECONNREFUSED');
    await waitFor('the wrong label to be told', () => /Did you mean office\?/.test(log()));
    assert.match(
      log(),
      /wrong: container wrong, label netproxy\.bastion: found \\"offic\\", which is no bastion or group/,
    );
    assert.doesNotMatch(await lab.network('wrong'), /tun0|netproxy/);
    // Its own bastion is the only one that the container logs in to.
    const socket = `/run/netproxy/${await lab.namespace('office')}.sock`;
    const { stdout } = await netproxy(lab.engine, ['status', '--json', '--control-socket', socket]);
    const { bastions } = JSON.parse(stdout) as { bastions: { name: string }[] };
    assert.deepEqual(
      bastions.map(({ name }) => name),
      ['office'],
    );
    // A changed file holds for every container at once, but for what its labels say.
    await lab.container('loose', ...LABEL, '--label', 'netproxy.rules={ to: ["0.0.0.0/0"], via: main }');
    await lab.carries(watching, 'loose');
    lab.config(['main', 'office'], 'rules: [{ to: ["0.0.0.0/0"], via: reject }]\n');
    await waitFor('the new rule', async () => (await lab.target('office')) === 'ECONNREFUSED', 30_000);
    assert.equal(await lab.target('loose'), 'hello');
  });

  test('go on while the engine restarts, and those that it ended are carried again', async () => {
    await lab.container('again', ...LABEL, '--restart', 'always');
    watching = lab.attach(['--watch']);
    await lab.carries(watching, 'again');
    await lab.engine.restart();
    await lab.carries(watching, 'again');
    assert.match(log(), /the container engine is back/);
    assert.equal(await lab.target('again'), 'hello');
    await lab.container('after', ...LABEL);
    await lab.carries(watching, 'after');
  });

  test(`may be ${MANY} at once`, async (t) => {
    const names = Array.from({ length: MANY }, (_, index) => `app${index}`);
    for (const name of names) await lab.container(name, ...LABEL);
    watching = lab.attach(['--watch']);
    await lab.carries(watching, ...names);
    const status = readFileSync(`/proc/${watching.child.pid}/status`, 'utf8');
    const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    t.diagnostic(`${MANY} containers: ${resident.toFixed(0)} MiB resident`);
    const answers = await Promise.all(names.map((name) => lab.target(name)));
    assert.deepEqual(
      answers,
      names.map(() => 'hello'),
    );
    const told = await netproxy(lab.engine, ['status', '--docker', '--json']);
    const { containers } = JSON.parse(told.stdout) as {
      containers: { name: string; netproxy?: { ready: boolean } }[];
    };
    assert.equal(containers.filter(({ netproxy: of }) => of?.ready === true).length, MANY);
    assert.equal(await watching.stop(), 0);
    const left = await Promise.all(names.map((name) => lab.network(name)));
    assert.deepEqual(
      left.filter((text) => /tun0|netproxy/.test(text)),
      [],
    );
  });
});
