import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { after, before, describe, test } from 'node:test';
import { TLS_CLOCK_SKEW_MS, TLS_LIFETIME_MS, TLS_RENEW_BEFORE_MS } from '../../src/core/limits.ts';
import { bundleOf, nextStep, readKept, writeKept } from '../../src/injector/authority-step.ts';
import type { Kept, Step } from '../../src/injector/authority-step.ts';
import { judge, makeGeneration } from '../../src/injector/certificate.ts';
import type { Generation } from '../../src/injector/certificate.ts';
import { AdmissionEndpoint } from '../../src/injector/endpoint.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const NAMES = ['netproxy-injector.netproxy.svc', '127.0.0.1'] as const;
const now = Date.now();

describe('a certificate that was made', () => {
  let made: Generation;
  before(async () => {
    made = await makeGeneration(NAMES, now);
  });

  test('is for the names, ends when it should, and began before clocks that are behind', () => {
    const certificate = new X509Certificate(made.certificate);
    assert.equal(certificate.subjectAltName, `DNS:${NAMES[0]}, IP Address:${NAMES[1]}`);
    // In whole seconds.
    const near = (text: string, wanted: number): void =>
      assert.ok(Math.abs(Date.parse(text) - wanted) <= 1000, text);
    near(certificate.validTo, now + TLS_LIFETIME_MS);
    near(certificate.validFrom, now - TLS_CLOCK_SKEW_MS);
    assert.equal(certificate.ca, false);
    assert.equal(new X509Certificate(made.authority).ca, true);
    assert.match(made.key, /^-----BEGIN PRIVATE KEY-----\n/);
  });

  test('is good, due, and useless as time goes by', () => {
    const at = (ms: number): string => judge(made, NAMES, now + ms).kind;
    assert.equal(at(0), 'good');
    assert.equal(at(-2 * TLS_CLOCK_SKEW_MS + 1000), 'good');
    assert.equal(at(-2 * TLS_CLOCK_SKEW_MS - 1000), 'useless');
    assert.equal(at(TLS_LIFETIME_MS - TLS_RENEW_BEFORE_MS - 1000), 'good');
    assert.equal(at(TLS_LIFETIME_MS - TLS_RENEW_BEFORE_MS + 1000), 'due');
    assert.equal(at(TLS_LIFETIME_MS - TLS_CLOCK_SKEW_MS + 1000), 'useless');
  });

  test('is useless for another name, with the key or authority of another, or in pieces', async () => {
    const other = await makeGeneration(NAMES, now);
    const why = (generation: Generation, names: readonly string[] = NAMES): string => {
      const judged = judge(generation, names, now);
      return judged.kind === 'useless' ? judged.why : judged.kind;
    };
    assert.equal(why(made, ['other.netproxy.svc']), 'the certificate is not for other.netproxy.svc');
    assert.equal(why({ ...made, key: other.key }), 'the key is not that of the certificate');
    assert.equal(
      why({ ...made, authority: other.authority }),
      'the certificate is not signed by its authority',
    );
    for (const part of ['authority', 'certificate', 'key'] as const)
      assert.notEqual(why({ ...made, [part]: made[part].slice(0, 100) }), 'good');
  });
});

describe('the endpoint', () => {
  const endpoint = new AdmissionEndpoint({ answer: () => ({}), bad() {} }, log);
  let port: number;
  before(async () => {
    port = await endpoint.listen({ address: '127.0.0.1', port: 0 });
  });
  after(() => endpoint.close(0));

  /** Connects as the API server does, trusting only the bundle, and gives the certificate that was shown. */
  async function shown(bundle: string, servername = NAMES[0] as string): Promise<string> {
    const socket = connect({ port, host: '127.0.0.1', ca: bundle, servername });
    try {
      await once(socket, 'secureConnect');
      return socket.getPeerX509Certificate()!.toString();
    } finally {
      socket.destroy();
    }
  }

  test('is trusted with both authorities of a rotation on either side of it, without a restart', async () => {
    const [old, next] = await Promise.all([makeGeneration(NAMES, now), makeGeneration(NAMES, now)]);
    await assert.rejects(shown(old.authority));
    endpoint.use(old);
    assert.equal(await shown(old.authority), old.certificate);
    await assert.rejects(shown(next.authority), /unable to|self.signed|certificate/i);
    await assert.rejects(shown(old.authority, 'other.svc'), /altnames/);
    const both = bundleOf({ current: old, next });
    assert.equal(await shown(both), old.certificate);
    endpoint.use(next);
    assert.equal(await shown(both), next.certificate);
    assert.equal(await shown(bundleOf({ current: next, former: old.authority })), next.certificate);
    assert.equal(await shown(next.authority), next.certificate);
  });
});

describe('what is to be done about the kept certificates', () => {
  /** Steps until nothing is left to do; what is made is made at `at`. */
  async function settle(
    kept: Kept,
    at: number,
    settled = false,
  ): Promise<{ kept: Kept; steps: string[]; last: Step }> {
    const steps: string[] = [];
    for (;;) {
      const step = nextStep(kept, { names: NAMES, now: at, settled });
      if (step.kind === 'keep' || steps.length > 5) return { kept, steps, last: step };
      steps.push(step.kind === 'make' ? `make ${step.as}` : 'write');
      kept = step.kind === 'make' ? { ...step.kept, [step.as]: await makeGeneration(NAMES, at) } : step.kept;
    }
  }

  test('over the life of two certificates: both are trusted whenever either may be met', async () => {
    const first = await settle({}, now);
    assert.deepEqual(first.steps, ['make current']);
    assert.deepEqual((await settle(first.kept, now + 1000)).steps, []);

    const due = now + TLS_LIFETIME_MS - TLS_RENEW_BEFORE_MS + 1000;
    const renewed = await settle(first.kept, due);
    assert.deepEqual(renewed.steps, ['make next']);
    // Served is the old one, and the new one is trusted already.
    assert.deepEqual(renewed.kept.current, first.kept.current);
    assert.equal(bundleOf(renewed.kept), first.kept.current!.authority + renewed.kept.next!.authority);
    assert.deepEqual((await settle(renewed.kept, due + 1000)).steps, []);

    const turned = await settle(renewed.kept, due + 60_000, true);
    assert.deepEqual(turned.steps, ['write']);
    assert.deepEqual(turned.kept, { current: renewed.kept.next, former: first.kept.current!.authority });
    // A replica that has not noticed serves the old one, which is trusted until it is over.
    assert.ok(bundleOf(turned.kept).includes(first.kept.current!.authority));
    const over = await settle(turned.kept, now + TLS_LIFETIME_MS + 1000);
    assert.deepEqual(over.steps, ['write']);
    assert.equal(bundleOf(over.kept), renewed.kept.next!.authority);
  });

  test('what is useless is made anew at once, or what follows takes its place', async () => {
    const [one, two] = await Promise.all([makeGeneration(NAMES, now), makeGeneration(NAMES, now)]);
    const elsewhere = await makeGeneration(['other.svc'], now);
    assert.deepEqual((await settle({ current: elsewhere }, now)).steps, ['make current']);
    assert.deepEqual((await settle({ current: { ...one, key: 'x' } }, now)).steps, ['make current']);
    assert.deepEqual((await settle({ current: elsewhere, next: two }, now)).kept, { current: two });
    assert.deepEqual((await settle({ current: one, next: elsewhere }, now)).kept, { current: one });
    assert.deepEqual((await settle({ current: one, former: 'x' }, now)).kept, { current: one });
    const late = await settle({ current: one, former: two.authority }, now + 2 * TLS_LIFETIME_MS);
    assert.deepEqual(late.steps, ['make current']);
  });

  test('a Secret is read as it was written, and is nothing when it is not whole', async () => {
    const [current, next] = await Promise.all([makeGeneration(NAMES, now), makeGeneration(NAMES, now)]);
    const kept = { current, next, former: next.authority };
    assert.deepEqual(readKept(writeKept(kept)), kept);
    assert.deepEqual(readKept(writeKept({ current })), { current });
    assert.deepEqual(Object.keys(writeKept({ current })), ['ca.crt', 'tls.crt', 'tls.key']);
    assert.deepEqual(readKept({}), {});
    const { 'tls.key': _, ...rest } = writeKept({ current });
    assert.deepEqual(readKept(rest), {});
    assert.deepEqual(readKept({ 'ca.crt': 5, 'tls.crt': null, 'tls.key': {} }), {});
  });
});
