import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { member } from '../../src/injector/json.ts';
import type { Json, JsonObject } from '../../src/injector/json.ts';
import { joinNetworks, networksOf } from '../../src/injector/networks.ts';
import { decide } from '../../src/injector/patch.ts';
import { parseProfile } from '../../src/injector/profile.ts';
import { BadReview, isNewPod, parseReview, reviewAnswer } from '../../src/injector/review.ts';
import { around, CLASSIC, patched, podOf, profileOf, PROFILE, reviewOf } from './injector-pods.ts';

const at = (value: Json | undefined, ...keys: readonly string[]): Json | undefined =>
  keys.reduce<Json | undefined>(
    (inner, key) => (Array.isArray(inner) ? (inner as readonly Json[])[Number(key)] : member(inner, key)),
    value,
  );
const names = (list: Json | undefined): (Json | undefined)[] =>
  ((list ?? []) as readonly Json[]).map((each) => member(each, 'name'));

describe('a pod that gets the sidecar', () => {
  test('has it as its first init container, its volumes and its mark', async () => {
    const pod = podOf({
      initContainers: [{ name: 'migrate', image: 'app' }],
      volumes: [{ name: 'data', emptyDir: {} }],
    });
    const made = patched(pod, decide(pod, around(await profileOf())));
    assert.deepEqual(names(at(made, 'spec', 'initContainers')), ['netproxy', 'migrate']);
    assert.deepEqual(names(at(made, 'spec', 'containers')), ['app']);
    assert.deepEqual(names(at(made, 'spec', 'volumes')), ['data', 'netproxy-config', 'netproxy-run']);
    assert.deepEqual(at(made, 'metadata', 'annotations'), {
      'netproxy.io/injected': 'default',
      'netproxy.io/checksum': 'abc~1/d',
    });
  });

  test('needs neither volumes nor init containers nor annotations, and keeps what it has', async () => {
    const bare = podOf();
    const made = patched(bare, decide(bare, around(await profileOf())));
    assert.deepEqual(names(at(made, 'spec', 'initContainers')), ['netproxy']);
    assert.deepEqual(names(at(made, 'spec', 'volumes')), ['netproxy-config', 'netproxy-run']);
    const noted = podOf(
      { volumes: [], initContainers: [] },
      { annotations: { mine: 'x' }, generateName: 'web-' },
    );
    const kept = patched(noted, decide(noted, around(await profileOf())));
    assert.equal(at(kept, 'metadata', 'annotations', 'mine'), 'x');
    assert.equal(at(kept, 'metadata', 'annotations', 'netproxy.io/injected'), 'default');
  });

  test('keeps an annotation of its own that the profile has too, but not a mark', async () => {
    const own = { 'netproxy.io/checksum': 'mine', 'netproxy.io/injected': 'other' };
    const pod = podOf({}, { annotations: own });
    const made = patched(pod, decide(pod, around(await profileOf())));
    assert.deepEqual(at(made, 'metadata', 'annotations'), { ...own, 'netproxy.io/injected': 'default' });
  });

  test('has it first among its containers in the classic form, with a warning where it would not end', async () => {
    const job = podOf({ restartPolicy: 'Never' });
    const decision = decide(job, around(await profileOf(CLASSIC)));
    assert.deepEqual(names(at(patched(job, decision), 'spec', 'containers')), ['netproxy', 'app']);
    assert.match(decision.kind === 'inject' ? decision.warnings.join() : '', /will not complete/);
  });

  test('gets the profile of its annotation', async () => {
    const pod = podOf({}, { annotations: { 'netproxy.io/profile': 'other' } });
    const other = await profileOf(
      PROFILE.replace('image: docker.io/local/netproxy:test', 'image: x'),
      'other',
    );
    const made = patched(pod, decide(pod, around(await profileOf(), other)));
    assert.equal(at(made, 'spec', 'initContainers', '0', 'image'), 'x');
    assert.equal(at(made, 'metadata', 'annotations', 'netproxy.io/injected'), 'other');
  });

  test('reaches the networks of the cluster, of the profile and of its annotation directly', async () => {
    const variable = '{ name: NETPROXY_LOCAL, value: "10.9.0.0/16, 10.8.0.1:53/udp" }';
    const text = PROFILE.replace(
      '/etc/netproxy/netproxy.yaml }]',
      `/etc/netproxy/netproxy.yaml }, ${variable}]`,
    );
    const pod = podOf(
      {},
      { annotations: { 'netproxy.io/local': '192.0.2.0/24, 10.9.0.0/16,[fd00::/8]:53' } },
    );
    const decision = decide(pod, { ...around(await profileOf(text)), networks: ['10.96.0.0/12'] });
    assert.deepEqual(at(patched(pod, decision), 'spec', 'initContainers', '0', 'env'), [
      { name: 'NETPROXY_CONFIG', value: '/etc/netproxy/netproxy.yaml' },
      {
        name: 'NETPROXY_LOCAL',
        value: '10.9.0.0/16,10.8.0.1:53/udp,10.96.0.0/12,192.0.2.0/24,[fd00::/8]:53',
      },
    ]);
    // Nothing is left of one pod for the next.
    const second = decide(podOf(), { ...around(await profileOf(text)), networks: [] });
    assert.equal(
      at(patched(podOf(), second), 'spec', 'initContainers', '0', 'env', '1', 'value'),
      '10.9.0.0/16, 10.8.0.1:53/udp',
    );
  });
});

describe('asked again', () => {
  test('about what it made, there is nothing to do', async () => {
    const pod = podOf(
      { volumes: [{ name: 'data', emptyDir: {} }] },
      { annotations: { 'netproxy.io/local': '192.0.2.0/24' } },
    );
    const circumstances = { ...around(await profileOf()), networks: ['10.96.0.0/12'] };
    const made = patched(pod, decide(pod, circumstances));
    assert.deepEqual(decide(made, circumstances), {
      ...{ kind: 'inject', profile: 'default', patch: [], warnings: [] },
    });
  });

  test('defaults and mounts that were added in between stay', async () => {
    const circumstances = around(await profileOf());
    const made = patched(podOf(), decide(podOf(), circumstances)) as { spec: { initContainers: object[] } };
    const [container] = made.spec.initContainers as { volumeMounts: object[] }[];
    Object.assign(container!, {
      imagePullPolicy: 'IfNotPresent',
      terminationMessagePath: '/dev/termination-log',
    });
    container!.volumeMounts.push({ name: 'kube-api-access', mountPath: '/var/run/secrets' });
    const decision = decide(made as unknown as JsonObject, circumstances);
    assert.deepEqual(decision.kind === 'inject' && decision.patch, []);
  });

  test('it comes first again where another webhook went before it, and is put right where it was changed', async () => {
    const circumstances = around(await profileOf());
    const made = patched(podOf(), decide(podOf(), circumstances));
    const [own] = at(made, 'spec', 'initContainers') as readonly JsonObject[];
    const spec = (initContainers: readonly object[]): JsonObject =>
      ({ ...made, spec: { ...(at(made, 'spec') as object), initContainers } }) as unknown as JsonObject;
    const behind = spec([{ name: 'mesh', image: 'm' }, own!]);
    const first = patched(behind, decide(behind, circumstances));
    assert.deepEqual(names(at(first, 'spec', 'initContainers')), ['netproxy', 'mesh']);
    const env = [
      { name: 'NETPROXY_CONFIG', value: '/etc/netproxy/netproxy.yaml' },
      { name: 'X', value: '1' },
    ];
    const changed = spec([{ ...own, env }]);
    const right = patched(changed, decide(changed, circumstances));
    assert.deepEqual(at(right, 'spec', 'initContainers', '0'), own);
    // The profile has another form now than when the template was copied.
    const classic = around(await profileOf(CLASSIC));
    const moved = patched(made, decide(made, classic));
    assert.deepEqual(names(at(moved, 'spec', 'initContainers')), []);
    assert.deepEqual(names(at(moved, 'spec', 'containers')), ['netproxy', 'app']);
  });
});

describe('a pod that is refused', () => {
  const message = async (pod: JsonObject, broken: readonly string[] = []): Promise<string> => {
    const decision = decide(pod, { ...around(await profileOf()), broken });
    assert.equal(decision.kind, 'refuse', JSON.stringify(decision));
    return decision.kind === 'refuse' ? decision.message : '';
  };
  const wants = (profile: string): JsonObject =>
    podOf({}, { annotations: { 'netproxy.io/profile': profile } });

  test('names a profile that is not there, or is broken', async () => {
    assert.match(await message(wants('defualt')), /there is no profile "defualt".*did you mean "default"\?/);
    assert.match(await message(wants('other')), /there are: default/);
    assert.match(await message(wants('other'), ['other']), /profile "other".*is broken/);
    assert.match(await message(wants('__proto__')), /there is no profile/);
  });

  test('has the network of its node', async () => {
    assert.match(await message(podOf({ hostNetwork: true })), /hostNetwork: true/);
  });

  test('has a container or volume of that name already', async () => {
    for (const list of ['containers', 'initContainers', 'ephemeralContainers'])
      assert.match(
        await message(podOf({ [list]: [{ name: 'netproxy' }] })),
        new RegExp(`^netproxy: ${list} has`),
      );
    assert.match(
      await message(podOf({ volumes: [{ name: 'netproxy-run' }] })),
      /volume netproxy-run already/,
    );
  });

  test('has something else than networks in its annotation', async () => {
    const local = (value: string): JsonObject => podOf({}, { annotations: { 'netproxy.io/local': value } });
    assert.match(await message(local('10.0.0.0/8,db.example')), /found "db.example"; allowed: networks/);
    assert.match(await message(local('10.0.0.1/8')), /bits after the prefix; write 10.0.0.0\/8/);
    assert.ok((await message(local('x'.repeat(100_000)))).length < 500);
  });
});

describe('a pod that is left alone', () => {
  const why = async (pod: JsonObject): Promise<string> => {
    const decision = decide(pod, around(await profileOf()));
    return decision.kind === 'skip' ? decision.why : assert.fail(JSON.stringify(decision));
  };

  test('has no label, or another value of it, or is of Windows', async () => {
    assert.match(await why(podOf({}, { labels: undefined })), /label/);
    assert.match(await why(podOf({}, { labels: { 'netproxy.io/inject': 'false' } })), /label/);
    assert.match(await why(podOf({ os: { name: 'windows' } })), /Windows/);
    assert.match(await why(podOf({ nodeSelector: { 'kubernetes.io/os': 'windows' } })), /Windows/);
  });
});

describe('a review', () => {
  test('gives who is asked about, and whether it is a new pod', () => {
    const pod = podOf({}, { name: undefined, generateName: 'web-7d4-' });
    const review = parseReview(Buffer.from(reviewOf(pod, { dryRun: true })));
    assert.deepEqual(
      { ...review, object: undefined },
      {
        ...{
          uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
          operation: 'CREATE',
          kind: 'v1/Pod',
          subResource: '',
        },
        ...{ namespace: 'apps', name: 'web-7d4-', dryRun: true, object: undefined },
      },
    );
    const asked = (more: object): boolean => isNewPod(parseReview(Buffer.from(reviewOf(pod, more))));
    assert.equal(asked({}), true);
    assert.equal(asked({ operation: 'UPDATE' }), false);
    assert.equal(asked({ operation: 'DELETE', object: null }), false);
    assert.equal(asked({ subResource: 'ephemeralcontainers' }), false);
    assert.equal(asked({ kind: { group: 'apps', version: 'v1', kind: 'Deployment' } }), false);
    assert.equal(asked({ kind: { group: 'evil', version: 'v1', kind: 'Pod' } }), false);
  });

  test('is refused when it is none', () => {
    const bad = (text: string): void => assert.throws(() => parseReview(Buffer.from(text)), BadReview);
    bad('');
    bad('{');
    bad('null');
    bad('[]');
    bad('{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}');
    bad(reviewOf(podOf()).replace('admission.k8s.io/v1', 'admission.k8s.io/v1beta1'));
    bad(reviewOf(podOf(), { uid: '' }));
    bad(reviewOf(podOf(), { uid: 'x'.repeat(1000) }));
    bad(reviewOf(podOf(), { kind: 'Pod' }));
    bad(reviewOf(podOf(), { operation: 1 }));
    bad(reviewOf('pod'));
  });

  test('is answered in the words of admission.k8s.io/v1', async () => {
    const injected = decide(podOf(), around(await profileOf()));
    const answer = reviewAnswer('u', injected) as { response: Record<string, unknown> };
    assert.deepEqual([answer.response['uid'], answer.response['allowed']], ['u', true]);
    assert.equal(answer.response['patchType'], 'JSONPatch');
    const patch = Buffer.from(String(answer.response['patch']), 'base64').toString();
    assert.deepEqual(JSON.parse(patch), injected.kind === 'inject' && injected.patch);
    assert.deepEqual(reviewAnswer('u', { kind: 'skip', why: '', warnings: ['w'] }), {
      ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
      response: { uid: 'u', allowed: true, warnings: ['w'] },
    });
    assert.deepEqual(reviewAnswer('u', { kind: 'refuse', profile: undefined, message: 'm' }), {
      ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
      response: { uid: 'u', allowed: false, status: { code: 403, reason: 'Forbidden', message: 'm' } },
    });
  });

  test('of any bytes is read or refused', () => {
    const read = (bytes: Uint8Array): void => {
      try {
        parseReview(Buffer.from(bytes));
      } catch (error) {
        assert.ok(error instanceof BadReview, String(error));
      }
    };
    fc.assert(fc.property(fc.uint8Array(), read), { numRuns: 500 });
    const text = reviewOf(podOf());
    // One stretch of a real one is exchanged.
    const cut = fc.tuple(fc.nat(text.length), fc.nat(20), fc.string({ maxLength: 20 }));
    fc.assert(
      fc.property(cut, ([from, length, put]) =>
        read(Buffer.from(text.slice(0, from) + put + text.slice(from + length))),
      ),
      { numRuns: 500 },
    );
  });

  test('of any pod is decided, and what was made of it stays as it is', async () => {
    const profiles = [await profileOf(), await profileOf(CLASSIC, 'classic')];
    const circumstances = { ...around(...profiles), networks: ['10.96.0.0/12', 'fd00::/108'] };
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom('name', 'env', 'volumeMounts', '__proto__', 'constructor', 'image', 'value'),
          tie('tree'),
          { maxKeys: 4 },
        ),
      ),
    }));
    const container = fc.record(
      { name: fc.constantFrom('netproxy', 'app', 'other'), env: tree, volumeMounts: tree },
      { requiredKeys: ['name'] },
    );
    const list = fc.uniqueArray(container, { maxLength: 3, selector: ({ name }) => name });
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('default', 'classic', '10.0.0.0/8', '::/0:80', 'fd00::/8'),
    );
    const annotation = fc.constantFrom(
      'netproxy.io/profile',
      'netproxy.io/local',
      'netproxy.io/injected',
      'a/b~c',
    );
    const pods = fc.record({
      metadata: fc.record(
        {
          annotations: fc.dictionary(annotation, text, { maxKeys: 4 }),
          labels: fc.constant({ 'netproxy.io/inject': 'true' }),
        },
        { requiredKeys: ['labels'] },
      ),
      spec: fc.record(
        {
          ...{ containers: list, initContainers: list, hostNetwork: tree, os: tree, nodeSelector: tree },
          volumes: fc.uniqueArray(
            fc.record({ name: fc.constantFrom('netproxy-config', 'netproxy-run', 'data'), emptyDir: tree }),
            { maxLength: 3, selector: ({ name }) => name },
          ),
        },
        { requiredKeys: ['containers'] },
      ),
    });
    let injected = 0;
    fc.assert(
      fc.property(pods, (given) => {
        const pod = JSON.parse(JSON.stringify(given)) as JsonObject;
        const decision = decide(pod, circumstances);
        if (decision.kind !== 'inject') return;
        injected++;
        const made = patched(pod, decision);
        const again = decide(made, circumstances);
        assert.deepEqual(again.kind === 'inject' && again.patch, []);
      }),
      { numRuns: 500 },
    );
    assert.ok(injected > 50, `${injected} of the pods were injected`);
    fc.assert(
      fc.property(tree, (any) => void decide(podOf({}, { annotations: any as object }), circumstances)),
    );
    fc.assert(
      fc.property(
        tree,
        (any) => void decide({ metadata: podOf()['metadata']!, spec: any as Json }, circumstances),
      ),
    );
  });
});

describe('a profile', () => {
  const problems = async (text: string): Promise<string[]> => {
    const parsed = await parseProfile('p', '/p/p.yaml', text);
    return 'container' in parsed ? [] : parsed.map(({ where, message }) => `${where}: ${message}`);
  };

  test('is told with everything that is wrong in it, and its places', async () => {
    const told = await problems(`container:
  name: proxy
  env: [{ name: NETPROXY_LOCAL, valueFrom: {} }]
  volumeMounts: [{ name: data, mountPath: /d }]
volumes:
  - { name: data, emptyDir: {} }
place: sidecars
annotations: { number: 5, netproxy.io/injected: x }
other: 1
`);
    assert.deepEqual(told, [
      '/p/p.yaml:9:1 other: no such key; allowed: container, volumes, place, annotations',
      '/p/p.yaml:7:1 place: found "sidecars"; allowed: initContainers, containers',
      '/p/p.yaml:6:5 volumes.0: found the name "data"; allowed: names that begin with netproxy-',
      '/p/p.yaml:2:3 container.name: found "proxy"; allowed: netproxy',
      '/p/p.yaml:1:1 container.image: found nothing; allowed: the name of an image',
      '/p/p.yaml:1:1 container.restartPolicy: found nothing; allowed among initContainers: Always, without which the pod would wait for its end',
      '/p/p.yaml:3:9 container.env.0: NETPROXY_LOCAL has no "value"; allowed: a value, which the networks of the cluster are added to',
      '/p/p.yaml:8:16 annotations.number: found "5"; allowed: a text; put it in quotes',
      '/p/p.yaml:8:27 annotations.netproxy.io/injected: is written by the injector itself',
    ]);
  });

  test('is wrong as no map, no YAML, too large, or an alias too many', async () => {
    assert.match((await problems('')).join(), /found no map/);
    assert.match((await problems('a: [')).join(), /p.yaml:1:\d+: not YAML/);
    assert.match((await problems('a: 1\na: 2')).join(), /not YAML/);
    assert.match((await problems(`#${'x'.repeat(300_000)}`)).join(), /larger than 262144 bytes/);
    const bomb = Array.from(
      { length: 30 },
      (_, i) => `a${i}: &a${i} [${i === 0 ? '1' : `*a${i - 1}, *a${i - 1}`}]`,
    );
    assert.match((await problems(bomb.join('\n'))).join(), /cannot be written as JSON/);
    assert.match(
      (await problems(CLASSIC.replace('image:', 'restartPolicy: Always\n  image:'))).join(),
      /among containers: none/,
    );
  });

  test('of any text gives a profile or problems', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => void (await problems(text))),
      { numRuns: 300 },
    );
    const cut = fc.tuple(fc.nat(PROFILE.length), fc.nat(30), fc.string({ maxLength: 10 }));
    await fc.assert(
      fc.asyncProperty(cut, async ([from, length, put]) => {
        await problems(PROFILE.slice(0, from) + put + PROFILE.slice(from + length));
      }),
      { numRuns: 300 },
    );
  });
});

describe('networks of a cluster', () => {
  test('are as few as they can be', () => {
    const join = (...texts: readonly string[]): string[] => joinNetworks(networksOf(texts));
    assert.deepEqual(join(), []);
    assert.deepEqual(join('10.244.1.0/24', '10.244.0.0/24', '10.244.2.0/24'), [
      '10.244.0.0/23',
      '10.244.2.0/24',
    ]);
    assert.deepEqual(join('10.96.0.0/12', '10.96.5.0/24', '10.96.0.0/12'), ['10.96.0.0/12']);
    assert.deepEqual(join('fd00:0:0:0:8000::/65', 'fd00::/65', '10.0.0.7/32'), ['10.0.0.7/32', 'fd00::/64']);
    assert.deepEqual(join('128.0.0.0/1', '0.0.0.0/1', '::/0'), ['0.0.0.0/0', '::/0']);
    // What has bits after the prefix is the network that it lies in.
    assert.deepEqual(join('10.1.2.3/8', 'nonsense'), ['10.0.0.0/8']);
  });
});
