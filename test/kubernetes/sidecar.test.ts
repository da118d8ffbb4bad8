/**
 * Pods with netproxy as a native sidecar: in which order their containers start, what goes through the tunnel and what
 * is direct, and what a person sees when it can't work.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';

import { LAB, waitFor } from '../lab/namespaces.ts';
import type { Capture } from '../lab/namespaces.ts';
import { makeKey } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';
import { DEADLINE_MS, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import {
  app,
  APP_PORT,
  APP_VOLUME,
  ask,
  asked,
  leftBy,
  podObject,
  Profile,
  sidecarOf,
  startBastion,
  watchUplink,
} from './sidecar.ts';
import type { PodObject } from './sidecar.ts';

const BASTION_PORT = 2201;
const echo = String(PORTS.echo);
/** A stall of the machine is no failure. */
const PROBE = { periodSeconds: 1, timeoutSeconds: 10 };
/** Somebody listens on the application's port (proc_pid_net(5): 0A is LISTEN). */
const LISTENS = `:${APP_PORT.toString(16).toUpperCase()} .* 0A `;
/** Wanted are two seconds, of a machine that has nothing else to do. */
const READY_MAX_MS = 20_000;
/** Kilobytes. What the sidecar may take of memory. */
const RSS_MAX_KB = 100 * 1024;

describe('a pod with the sidecar', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let place: TestNamespace;
  let sshd: Sshd;
  let profile: Profile;
  let uplink: Capture;
  before(async () => {
    cluster = await openCluster();
    sshd = await startBastion(cluster.site, BASTION_PORT);
    place = await cluster.namespace();
    uplink = await watchUplink(cluster.site, [sshd]);
    profile = await Profile.apply(place, sshd);
    await place.apply(
      // Served by a pod without a sidecar; once by a Service's address, and once by those of its pods.
      podObject('neighbour', plain()),
      service('neighbour', {}),
      service('headless', { clusterIP: 'None' }),
      profile.pod('app', {
        init: [app('first', ['job', LAB.target.v4, echo])],
        containers: [
          app('app', [], {
            livenessProbe: { httpGet: { path: '/', port: APP_PORT }, ...PROBE, failureThreshold: 2 },
            readinessProbe: { tcpSocket: { port: APP_PORT }, ...PROBE },
            // The other probes of one that does not listen yet would fail.
            startupProbe: {
              exec: { command: ['grep', '-q', LISTENS, '/proc/net/tcp6'] },
              ...PROBE,
              failureThreshold: 90,
            },
          }),
        ],
      }),
    );
    await place.until('Ready', 'pod/app');
    await place.until('Ready', 'pod/neighbour');
  });
  after(async () => {
    await uplink?.stop();
    await place?.remove();
    await sshd?.stop();
    await cluster?.close();
  });

  test('starts its init containers and its application only once there is a tunnel, through which they go', async () => {
    const { status } = await place.get<PodObject>('pod/app');
    const first = status.initContainerStatuses!.find(({ name }) => name === 'first')!;
    // It exits with 3 when it does not reach the target, which only a tunnel does.
    assert.equal(first.state.terminated?.exitCode, 0);
    assert.equal(first.restartCount, 0);
    assert.equal((await sidecarOf(place, 'app')).restartCount, 0);
    assert.deepEqual((await ask(place, 'app', 'echo', LAB.target.v4, echo)).echo, 'hello');
  });

  test("reaches Services and pods by the cluster's names, directly", async () => {
    const full = `neighbour.${place.name}.svc.cluster.local`;
    for (const host of ['neighbour', `neighbour.${place.name}`, full, 'headless']) {
      const said = await waitFor(
        `an answer of ${host}`,
        async () => {
          const answer = await asked(place, 'app', 'fetch', `http://${host}:${APP_PORT}/`);
          return answer.status === 200 && answer;
        },
        DEADLINE_MS,
      );
      const { status } = await place.get<PodObject>('pod/app');
      // The neighbour saw the pod's own address, and not a bastion's.
      assert.equal(said.text, `app ::ffff:${status.podIP}`);
    }
    const { status } = await place.get<PodObject>('pod/neighbour');
    assert.deepEqual((await ask(place, 'app', 'lookup', 'headless')).addresses, [status.podIP]);
  });

  test('looks other names up at the far end', async () => {
    assert.deepEqual((await ask(place, 'app', 'lookup', 'www.example')).addresses, [SAYS.far]);
    // The cluster's own DNS, which a pod without a sidecar asks, says something else.
    assert.deepEqual((await ask(place, 'neighbour', 'lookup', 'www.example')).addresses, [SAYS.near]);
  });

  test('is ready soon after its container has started', async (t) => {
    const script = "cut -d' ' -f1 /proc/uptime; cut -d' ' -f22 /proc/1/stat; date +%s%3N; getconf CLK_TCK";
    const { stdout } = await place.exec('app', 'netproxy', ['sh', '-c', script]);
    const [up, started, now, ticks] = stdout.split('\n').map(Number);
    const age = up! * 1000 - (started! / ticks!) * 1000;
    const log = await place.logs('app', 'netproxy', '--timestamps');
    const ready = /^(\S+) netproxy is ready/m.exec(log)?.[1];
    assert.ok(ready !== undefined, log);
    const took = Date.parse(ready) - (now! - age);
    t.diagnostic(`tunnel ready ${(took / 1000).toFixed(2)} s after the start of the sidecar's process`);
    assert.ok(took > 0 && took < READY_MAX_MS, String(took));
  });

  test('takes little memory', async (t) => {
    const script = "awk '/^VmRSS/ { print $2 }' /proc/1/status";
    const { stdout } = await place.exec('app', 'netproxy', ['sh', '-c', script]);
    t.diagnostic(`RSS of the sidecar: ${(Number(stdout) / 1024).toFixed(1)} MB`);
    assert.ok(Number(stdout) > 0 && Number(stdout) < RSS_MAX_KB, stdout);
  });

  test('answers probes of the kubelet by http, tcp and exec', async () => {
    const { status } = await place.get<PodObject>('pod/app');
    const [container] = status.containerStatuses!;
    assert.equal(container!.ready, true);
    // Every second since its start; two failures in a row would have restarted it.
    assert.equal(container!.restartCount, 0);
    const { stdout } = await place.kubectl(['get', 'events', '--field-selector=involvedObject.name=app']);
    assert.match(stdout, /Container started/);
    assert.doesNotMatch(stdout, /Liveness probe failed/);
  });

  test('lets nothing else out', async () => {
    // The capture sees what is not for the bastion: this pod has no sidecar.
    const words = ['timeout', '12', 'node', '/app/app.ts', 'echo', LAB.target.v4, echo];
    assert.equal((await place.exec('neighbour', 'app', words, { mayFail: true })).stdout, '');
    await waitFor(
      'the packets of the pod without a sidecar',
      async () => (await leftBy(place, uplink)).length > 0,
    );
    assert.deepEqual(await leftBy(place, uplink, ['neighbour']), []);
  });

  test('says in its log and its events why it can not work', async () => {
    const foreign = join(sshd.directory, 'foreign_key');
    await makeKey(foreign);
    const other = await cluster.namespace();
    try {
      const wrong = await Profile.apply(other, sshd, { keyFile: foreign });
      await other.apply(
        wrong.pod('key'),
        wrong.pod('device', { device: null }),
        wrong.pod('path', { device: '/dev/net/none' }),
      );
      await other.logged('key', 'netproxy', 'SSH_AUTH_REFUSED');
      await other.logged('device', 'netproxy', 'TUN_MISSING');
      await waitFor(
        'an event of the missing device',
        async () =>
          (await other.kubectl(['get', 'events'])).stdout.includes('/dev/net/none is not a character device'),
        DEADLINE_MS,
      );
      // None of the applications has started, so none of them could leak.
      for (const name of ['key', 'device', 'path']) {
        const { status } = await other.get<PodObject>(`pod/${name}`);
        assert.equal(status.containerStatuses![0]!.state.waiting?.reason, 'PodInitializing');
      }
    } finally {
      await other.remove();
    }
  });
});

function plain(): object {
  return { terminationGracePeriodSeconds: 1, containers: [app()], volumes: [APP_VOLUME] };
}

function service(name: string, over: object): object {
  const spec = { selector: { app: 'neighbour' }, ports: [{ port: APP_PORT }], ...over };
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec };
}
