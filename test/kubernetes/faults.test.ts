/** What becomes of an application's pod when its sidecar, the bastion or the key is exchanged. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';

import { LAB, waitFor } from '../lab/namespaces.ts';
import type { LeakOracle } from '../lab/oracle.ts';
import { makeKey } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from '../netns/ports.ts';
import { DEADLINE_MS, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { app, ask, Profile, reaches, secret, sidecarOf, startBastion, watchPod } from './sidecar.ts';
import type { PodObject } from './sidecar.ts';

const BASTION_PORT = 2203;
const echo = String(PORTS.echo);

describe('an application stays, and leaks nothing,', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let place: TestNamespace;
  let sshd: Sshd;
  let oracle: LeakOracle;
  before(async () => {
    cluster = await openCluster();
    sshd = await startBastion(cluster.site, BASTION_PORT);
    place = await cluster.namespace();
    // One container presses to get out all the time.
    const containers = [app(), app('press', ['press', LAB.target.v4, echo])];
    const profile = await Profile.apply(place, sshd);
    await place.apply(profile.pod('app', { containers }));
    await place.until('Ready', 'pod/app');
    oracle = await watchPod(cluster.site, place, 'app', sshd);
  });
  after(async () => {
    await oracle?.stop();
    await place?.remove();
    await sshd?.stop();
    await cluster?.close();
  });

  const networkOf = async (): Promise<string> =>
    (await place.exec('app', 'app', ['readlink', '/proc/self/ns/net'])).stdout;
  const restartsOfApp = async (): Promise<number> => {
    const { status } = await place.get<PodObject>('pod/app');
    return status.containerStatuses!.reduce((sum, { restartCount }) => sum + restartCount, 0);
  };

  test('when its sidecar is killed', async (t) => {
    const network = await networkOf();
    await reaches(place, 'app', PORTS.echo);
    const { podIP } = (await place.get<PodObject>('pod/app')).status;
    const pid = await processOf(cluster, podIP);
    const started = performance.now();
    await cluster.site.onNode(['kill', '-KILL', pid]);
    await waitFor(
      'the sidecar to be restarted',
      async () => {
        const { restartCount, state } = await sidecarOf(place, 'app');
        return restartCount === 1 && state.running !== undefined;
      },
      DEADLINE_MS,
    );
    await reaches(place, 'app', PORTS.echo);
    t.diagnostic(`tunnel back ${((performance.now() - started) / 1000).toFixed(1)} s after the kill`);
    assert.equal(await networkOf(), network);
    assert.equal(await restartsOfApp(), 0);
    const { leaks, seen } = await oracle.look();
    assert.deepEqual(leaks, []);
    assert.ok(seen > 0);
  });

  test('when the bastion is gone, and comes back', async () => {
    await sshd.halt();
    const { code, echo: answer } = await ask(place, 'app', 'echo', LAB.target.v4, echo);
    assert.equal(answer, undefined);
    assert.ok(code !== undefined);
    await waitFor(
      'the pod to be no longer ready',
      async () => !(await sidecarOf(place, 'app')).ready,
      DEADLINE_MS,
    );
    await sshd.start();
    await reaches(place, 'app', PORTS.echo);
    await place.until('Ready', 'pod/app');
    assert.equal(await restartsOfApp(), 0);
    assert.deepEqual((await oracle.look()).leaks, []);
  });

  test('when its key is exchanged, by the Secret alone', async (t) => {
    const before = await sidecarOf(place, 'app');
    const next = join(sshd.directory, 'next_key');
    await makeKey(next);
    const allowed = (key: string): void => writeFileSync(sshd.authorizedKeysFile, readFileSync(`${key}.pub`));
    const logins = (): number => sshd.log().split('Accepted publickey').length - 1;
    const count = logins();
    // The new one is the only one that the server takes, and the connection of the old one goes on.
    allowed(next);
    await reaches(place, 'app', PORTS.echo);
    const started = performance.now();
    await place.apply(secret(next));
    await waitFor('a login by the new key', () => logins() > count, DEADLINE_MS);
    t.diagnostic(
      `logged in by the new key ${((performance.now() - started) / 1000).toFixed(1)} s after the change`,
    );
    sshd.dropConnections();
    await reaches(place, 'app', PORTS.echo);
    assert.equal((await sidecarOf(place, 'app')).restartCount, before.restartCount);
    assert.equal(await restartsOfApp(), 0);
    assert.deepEqual((await oracle.look()).leaks, []);
  });
});

/** Process number, on the node, of netproxy in the pod of this address. */
async function processOf(cluster: Cluster, address: string): Promise<string> {
  const script = `for pid in $(pgrep -f '^(node|/usr/local/bin/node) .*netproxy run'); do
    nsenter --target $pid --net -- ip -4 -o address show dev eth0 | grep -q ' '"$0"'/' && echo $pid
  done`;
  const { stdout } = await cluster.site.onNode(['sh', '-c', script, address], { mayFail: true });
  const [pid] = stdout.split('\n');
  if (pid === undefined || pid === '') throw new Error(`no netproxy has the address ${address}`);
  return pid;
}
