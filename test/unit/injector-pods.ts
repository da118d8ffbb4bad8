/** Pods, profiles and questions about them, for tests of the injector. */
import assert from 'node:assert/strict';
import jsonPatch from 'fast-json-patch';
import type { Json, JsonObject } from '../../src/injector/json.ts';
import type { Decision, Surroundings } from '../../src/injector/patch.ts';
import { parseProfile } from '../../src/injector/profile.ts';
import type { Profile } from '../../src/injector/profile.ts';

export const PROFILE = `
container:
  name: netproxy
  image: docker.io/local/netproxy:test
  restartPolicy: Always
  env: [{ name: NETPROXY_CONFIG, value: /etc/netproxy/netproxy.yaml }]
  securityContext: { capabilities: { drop: [ALL], add: [NET_ADMIN] } }
  volumeMounts: [{ name: netproxy-config, mountPath: /etc/netproxy }]
volumes:
  - { name: netproxy-config, configMap: { name: bastions } }
  - { name: netproxy-run, emptyDir: {} }
annotations: { "netproxy.io/checksum": "abc~1/d" }
`;

/** As the chart has it for clusters without native sidecars. */
export const CLASSIC = PROFILE.replace('  restartPolicy: Always\n', '').concat('place: containers\n');

export async function profileOf(text = PROFILE, name = 'default'): Promise<Profile> {
  const parsed = await parseProfile(name, `/p/${name}.yaml`, text);
  assert.ok('container' in parsed, JSON.stringify(parsed));
  return parsed;
}

export function around(...profiles: readonly Profile[]): Surroundings & { networks: readonly string[] } {
  return {
    profile: (name) => profiles.find((profile) => profile.name === name),
    names: profiles.map(({ name }) => name),
    broken: [],
    networks: [],
  };
}

/** A pod with the label; `spec` and `metadata` are added. */
export function podOf(spec: object = {}, metadata: object = {}): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', labels: { 'netproxy.io/inject': 'true' }, ...metadata },
    spec: { containers: [{ name: 'app', image: 'app' }], ...spec },
  };
}

/** The pod after the patch, by a library that knows nothing of how it was made. */
export function patched(pod: JsonObject, decision: Decision): JsonObject {
  assert.equal(decision.kind, 'inject', JSON.stringify(decision));
  const copy = structuredClone(pod);
  const patch = decision.kind === 'inject' ? structuredClone(decision.patch) : [];
  return jsonPatch.applyPatch(copy, patch as never, true, true).newDocument;
}

/** The body of a question, as the API server sends it. */
export function reviewOf(pod: Json, more: object = {}): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      namespace: 'apps',
      operation: 'CREATE',
      userInfo: { username: 'admin' },
      object: pod,
      oldObject: null,
      dryRun: false,
      options: { apiVersion: 'meta.k8s.io/v1', kind: 'CreateOptions' },
      ...more,
    },
  });
}
