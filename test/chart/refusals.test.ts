/** Bad values: what is said of them names the value, what was found, what is allowed, and the fix. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { CHART, dependents, helm } from './helm.ts';

const charts = dependents();
after(() => charts.close());

const HOSTS = 'bastion.example ssh-ed25519 AAAA';
const BASTION = { name: 'main', host: 'bastion.example', user: 'deploy' };
const GOOD = { bastions: [BASTION], existingSecret: 'netproxy', knownHosts: HOSTS };

/** What helm says of the values; empty when it takes them. */
function complaint(values: object, chart = CHART, ...args: string[]): string {
  const file = join(charts.folder, `values-${Math.random().toString(36).slice(2)}.yaml`);
  writeFileSync(file, stringify(values));
  const done = helm('template', 'web', chart, '--values', file, ...args);
  return done.code === 0 ? '' : done.stderr;
}

const profile = (of: object): string => complaint({ profiles: { default: of } });

test('good values are taken', () => {
  assert.equal(profile(GOOD), '');
});

describe('the schema refuses', () => {
  const refused: readonly (readonly [name: string, values: object, words: RegExp])[] = [
    ['an unknown value', { imagee: {} }, /'imagee' not allowed/],
    [
      'an unknown value below another',
      { injector: { replica: 3 } },
      /at '\/injector': .*'replica' not allowed/,
    ],
    [
      'an unknown key of a profile',
      { profiles: { a: { ...GOOD, bastion: 1 } } },
      /'\/profiles\/a': .*'bastion' not allowed/,
    ],
    [
      'an unknown key of a bastion',
      { profiles: { a: { ...GOOD, bastions: [{ ...BASTION, hots: 'x' }] } } },
      /'\/profiles\/a\/bastions\/0': .*'hots' not allowed/,
    ],
    [
      'a bastion without a user',
      { profiles: { a: { ...GOOD, bastions: [{ name: 'm', host: 'h' }] } } },
      /missing property 'user'/,
    ],
    [
      'an unknown setting',
      { profiles: { a: { ...GOOD, options: { tun: { mtuu: 1 } } } } },
      /options\/tun': .*'mtuu' not allowed/,
    ],
    [
      'what the pod says itself',
      { profiles: { a: { ...GOOD, options: { local: [] } } } },
      /'local' not allowed/,
    ],
    [
      'a word that is none of the few',
      { profiles: { a: { ...GOOD, options: { onExit: 'ajar' } } } },
      /onExit': value must be one of 'closed', 'open'/,
    ],
    ['a profile that no label could name', { profiles: { 'A b': GOOD } }, /'A b'/],
    [
      'a network without a prefix',
      { cluster: { cidrs: ['10.0.0.1'] } },
      /cluster\/cidrs\/0': '10\.0\.0\.1' does not match pattern/,
    ],
    [
      'an unknown mode',
      { sidecar: { mode: 'old' } },
      /sidecar\/mode': value must be one of 'auto', 'native', 'classic'/,
    ],
    [
      'a capability that is never needed',
      { sidecar: { extraCapabilities: ['SYS_ADMIN'] } },
      /extraCapabilities\/0': value must be one of/,
    ],
    [
      'a duration without a unit',
      { sidecar: { classicWait: '60' } },
      /classicWait': '60' does not match pattern/,
    ],
    [
      'a port below 1024, which the injector may not have',
      { injector: { ports: { https: 443 } } },
      /https': minimum: got 443, want 1,?024/,
    ],
  ];
  for (const [name, values, words] of refused) test(name, () => assert.match(complaint(values), words));
});

describe('the chart refuses', () => {
  const says = (text: string, ...parts: RegExp[]): void => {
    for (const part of [/allowed: /, ...parts]) assert.match(text, part);
  };

  test('a profile without bastions', () => {
    says(
      profile({ existingSecret: 's', knownHosts: HOSTS }),
      /profiles\.default\.bastions is empty/,
      /existingConfigMap/,
    );
  });

  test('a bastion whose host key nobody knows', () => {
    const text = profile({ bastions: [BASTION], existingSecret: 's' });
    says(text, /bastions\[0\] \(main\) has no host key/, /netproxy keyscan bastion\.example/);
  });

  test('a bastion that there is nothing to log in to with', () => {
    says(
      profile({ bastions: [BASTION], knownHosts: HOSTS }),
      /nothing to log in with/,
      /kubectl create secret/,
    );
    assert.equal(profile({ bastions: [{ ...BASTION, agent: '/run/agent' }], knownHosts: HOSTS }), '');
  });

  test('a key that is none, without repeating it', () => {
    const text = profile({ bastions: [BASTION], knownHosts: HOSTS, privateKey: 'swordfish' });
    says(text, /profiles\.default\.privateKey is not a private key/, /--set-file/);
    assert.doesNotMatch(text, /swordfish/);
  });

  test('the same thing given twice', () => {
    says(profile({ ...GOOD, existingConfigMap: 'c' }), /bastions is set, and so is .*existingConfigMap/);
    says(
      profile({ ...GOOD, secretData: { password: 'x' } }),
      /secretData is set, and so is .*existingSecret/,
    );
    says(
      profile({ bastions: [BASTION], knownHosts: HOSTS, existingSecret: 's', certificate: 'x' }),
      /existingSecret/,
    );
  });

  test('a variable that it sets itself', () => {
    const of = { env: { NETPROXY_LOCAL: '10.0.0.0/8' } };
    says(profile({ ...GOOD, ...of }), /profiles\.default, has NETPROXY_LOCAL/, /Use cluster\.cidrs/);
    says(complaint({ sidecar: of, profiles: { default: GOOD } }), /env of the sidecar/);
  });

  test('a device plugin without a resource', () => {
    says(
      complaint({ tun: { mode: 'devicePlugin' }, profiles: { default: GOOD } }),
      /tun\.resource is empty/,
      /squat\.ai\/tun/,
    );
  });

  test('a NetworkPolicy for bastions that are known by name alone', () => {
    const text = complaint({ networkPolicy: { enabled: true }, profiles: { default: GOOD } });
    says(text, /"bastion\.example" of profiles\.default/, /networkPolicy\.bastions/);
    const elsewhere = { existingConfigMap: 'c', existingSecret: 's' };
    says(
      complaint({ networkPolicy: { enabled: true }, profiles: { default: elsewhere } }),
      /networkPolicy\.bastions/,
    );
  });

  test('a PodMonitor without metrics', () => {
    says(complaint({ metrics: { podMonitor: { enabled: true } } }), /metrics\.enabled is false/);
  });

  test('a service account that is neither made nor named', () => {
    says(complaint({ injector: { serviceAccount: { create: false } } }), /serviceAccount\.name is empty/);
  });
});

describe('in a chart that includes it, it refuses', () => {
  const example = join(charts.folder, 'example');

  test('a cluster whose networks nobody knows', () => {
    const unknown = { netproxy: { cluster: { cidrs: [] } } };
    const text = complaint(unknown, example);
    assert.match(
      text,
      /cluster\.cidrs is empty.*allowed: a list such as \[10\.96\.0\.0\/12, 10\.244\.0\.0\/16\]/,
    );
    assert.equal(complaint({ netproxy: { cluster: { cidrs: [], ifUnknown: 'continue' } } }, example), '');
  });

  test('a native sidecar on a cluster that has none', () => {
    const text = complaint({}, example, '--kube-version', '1.28.9');
    assert.match(
      text,
      /Kubernetes v?1\.28\.9 lacks.*allowed: 1\.29 or newer.*netproxy\.initContainer.*netproxy\.container/,
    );
  });

  test('a profile that there is not', () => {
    const text = complaint({ profile: 'nightli' }, example);
    assert.match(text, /there is no profile "nightli"; allowed: default, nightly\. Add profiles\.nightli/);
  });
});
