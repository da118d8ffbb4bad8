/** What the chart gives the injector is what that takes: its profiles, its flags, and the name of its webhook. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import { loadInjectorConfig } from '../../src/config/injector.ts';
import { INJECT_LABEL, INJECT_PATH, INJECT_VALUE, WEBHOOK } from '../../src/injector/names.ts';
import { parseProfile } from '../../src/injector/profile.ts';
import { cases, dependents, objects, template } from './helm.ts';
import type { KubernetesObject } from './helm.ts';

const charts = dependents();
after(() => charts.close());

/** Where the deployment has the arguments of its only container. */
interface Deployment extends KubernetesObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: [{ readonly args: readonly string[] }] } };
  };
}

interface Webhooks extends KubernetesObject {
  readonly webhooks: [
    {
      readonly name: string;
      readonly clientConfig: { readonly service: { readonly path: string } };
      readonly objectSelector: { readonly matchLabels?: Readonly<Record<string, string>> };
    },
  ];
}

let injectors = 0;
for (const { name, chart, args } of cases(charts.folder)) {
  test(`${name}: the injector takes what the chart gives it`, async () => {
    const all = objects(template(chart, ...args));
    const map = all.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-profiles'));
    for (const [file, text] of Object.entries(map?.data ?? {})) {
      const parsed = await parseProfile(file.replace(/\.yaml$/, ''), file, text);
      assert.ok('container' in parsed, JSON.stringify(parsed));
    }
    const deployment = all.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name.endsWith('-injector'),
    ) as Deployment | undefined;
    if (deployment === undefined) return;
    injectors++;
    const [{ args: argv }] = deployment.spec.template.spec.containers;
    const { command, flags, problems } = parseArguments(argv);
    assert.equal(command, 'injector');
    // Throws everything that is wrong with them.
    const config = loadInjectorConfig({ flags, environment: {}, problems });
    const webhooks = all.find(({ kind }) => kind === 'MutatingWebhookConfiguration') as unknown as Webhooks;
    if ('secret' in config.tls) assert.equal(config.webhook, webhooks.metadata.name);
    const [webhook] = webhooks.webhooks;
    assert.equal(webhook.name, WEBHOOK);
    assert.equal(webhook.clientConfig.service.path, INJECT_PATH);
    assert.deepEqual(webhook.objectSelector, { matchLabels: { [INJECT_LABEL]: INJECT_VALUE } });
  });
}

test('some of the cases have an injector', () => {
  assert.ok(injectors >= 3, `${injectors} have one`);
});
