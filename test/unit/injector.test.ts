import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect } from 'node:tls';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadInjectorConfig } from '../../src/config/injector.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import { REVIEW_MAX_BYTES } from '../../src/core/limits.ts';
import { makeGeneration } from '../../src/injector/certificate.ts';
import type { Generation } from '../../src/injector/certificate.ts';
import { injector } from '../../src/injector/injector.ts';
import { listOf, member } from '../../src/injector/json.ts';
import { INJECTOR_METRICS } from '../../src/injector/metrics.ts';
import type { Operation } from '../../src/injector/patch.ts';
import { readiness } from '../../src/injector/probes.ts';
import { freePort } from '../lab/sshd.ts';
import { CLASSIC, podOf, PROFILE, reviewOf } from './injector-pods.ts';

const NAME = 'netproxy-injector.netproxy.svc';

/** Writes files as Kubernetes does in a volume: into a new folder, to which the link `..data` is turned. */
function mount(folder: string, files: Readonly<Record<string, string>>): void {
  const data = mkdtempSync(join(folder, '..20'));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(data, name), text);
    const link = join(folder, name);
    rmSync(link, { force: true });
    symlinkSync(join('..data', name), link);
  }
  symlinkSync(data, join(folder, '..data_tmp'));
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(50)) if (await holds()) return;
  assert.fail(what);
}

/** What is read here of an AdmissionReview. */
interface Answered {
  readonly response: {
    readonly allowed: boolean;
    readonly patch: string;
    readonly status: { readonly code: number; readonly message: string };
  };
}

describe('netproxy injector with files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'netproxy-injector-'));
  const [profiles, tls] = [join(folder, 'profiles'), join(folder, 'tls')];
  const ports = { webhook: 0, status: 0 };
  const lines: { msg: string; [key: string]: unknown }[] = [];
  const keep =
    (level: string) =>
    (fields: object, msg: string): void =>
      void lines.push({ ...fields, msg, level });
  const log = { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
  const stop = new AbortController();
  const agent = new Agent({ keepAlive: true });
  let trusted: Generation;
  let ended: Promise<void>;

  const serve = async (): Promise<void> => {
    trusted = await makeGeneration([NAME], Date.now());
    mount(tls, { 'tls.crt': trusted.certificate, 'tls.key': trusted.key });
  };

  before(async () => {
    for (const each of [profiles, tls]) mkdirSync(each);
    mount(profiles, { 'default.yaml': PROFILE, 'old.yaml': CLASSIC });
    await serve();
    // Ports of the machine that were free a moment ago.
    [ports.webhook, ports.status] = [await freePort(), await freePort()];
    const config = loadInjectorConfig({
      flags: new Map(),
      environment: {
        NETPROXY_INJECTOR_PROFILES: profiles,
        NETPROXY_INJECTOR_TLS_FOLDER: tls,
        NETPROXY_INJECTOR_LISTEN: `[::]:${ports.webhook}`,
        NETPROXY_INJECTOR_STATUS_LISTEN: `127.0.0.1:${ports.status}`,
        NETPROXY_INJECTOR_CLUSTER_CIDRS: '10.96.0.0/12,10.244.0.0/16',
      },
    });
    const ready = new Promise<string>((resolve) => {
      ended = injector(config, { log, stop: stop.signal, version: '1.2.3' }, resolve);
    });
    assert.equal(await ready, `netproxy injector is ready at [::]:${ports.webhook}`);
  });
  after(() => {
    agent.destroy();
    rmSync(folder, { recursive: true });
  });

  const ask = (
    body: string,
    { path = '/inject?timeout=10s', method = 'POST', type = 'application/json', ca = trusted.authority } = {},
  ): Promise<{ status: number; body: Answered; connection: string | undefined }> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': type };
      const asked = request(
        { host: '127.0.0.1', port: ports.webhook, servername: NAME, ca, agent, path, method, headers },
        (response) => {
          let text = '';
          response.on('data', (chunk) => (text += chunk));
          response.on('end', () => {
            const { connection } = response.headers;
            resolve({ status: response.statusCode!, body: JSON.parse(text), connection });
          });
        },
      );
      asked.on('error', reject);
      asked.end(body);
    });
  const status = async (path: string): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`http://127.0.0.1:${ports.status}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const image = async (profile: string): Promise<unknown> => {
    const { body } = await ask(reviewOf(podOf({}, { annotations: { 'netproxy.io/profile': profile } })));
    if (!body.response.allowed) return body.response.status.message;
    const patch = JSON.parse(Buffer.from(body.response.patch, 'base64').toString()) as Operation[];
    const own = patch.find(({ path }) => /^\/spec\/(initC|c)ontainers/.test(path))?.value;
    return member(listOf(own)?.[0] ?? own, 'image');
  };

  test('injects, refuses and leaves alone, with one line of the log each', async () => {
    lines.length = 0;
    const injected = await ask(reviewOf(podOf(), { dryRun: true }));
    assert.equal(injected.status, 200);
    const patch = Buffer.from(injected.body.response.patch, 'base64').toString();
    assert.match(patch, /"NETPROXY_LOCAL","value":"10.96.0.0\/12,10.244.0.0\/16"/);
    const refused = await ask(
      reviewOf(podOf({ hostNetwork: true }, { name: undefined, generateName: 'a-' })),
    );
    assert.deepEqual([refused.body.response.allowed, refused.body.response.status.code], [false, 403]);
    const deleted = await ask(reviewOf(null, { operation: 'DELETE', name: 'gone' }));
    assert.deepEqual(Object.keys(deleted.body.response), ['uid', 'allowed']);
    const told = lines.filter(({ msg }) => msg === 'admission');
    assert.deepEqual(
      told.map(({ namespace, pod, profile, result, dryRun }) => [namespace, pod, profile, result, dryRun]),
      [
        ['apps', 'web', 'default', 'injected', true],
        ['apps', 'a-', 'default', 'refused', undefined],
        ['apps', 'gone', '', 'skipped', undefined],
      ],
    );
    assert.ok(told.every(({ ms }) => typeof ms === 'number' && ms >= 0));
  });

  test('refuses what is no review by its status, and goes on', async () => {
    const review = reviewOf(podOf());
    assert.equal((await ask(review, { path: '/' })).status, 404);
    assert.equal((await ask('', { method: 'GET' })).status, 405);
    assert.equal((await ask(review, { type: 'text/plain' })).status, 415);
    assert.equal((await ask('{')).status, 400);
    const large = JSON.stringify('x'.repeat(REVIEW_MAX_BYTES));
    // The answer comes while the body is on its way: a client may see either first.
    const answered = await ask(large).catch((error: NodeJS.ErrnoException) => error);
    assert.ok('status' in answered ? answered.status === 413 : /EPIPE|ECONNRESET/.test(answered.code!));
    // Bytes that are no HTTP at all.
    const socket = connect({
      port: ports.webhook,
      host: '127.0.0.1',
      ca: trusted.authority,
      servername: NAME,
    });
    socket.on('error', () => {});
    socket.write('\0\0\0\0\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve).resume());
    // One that never comes to its end.
    const slow = connect({
      port: ports.webhook,
      host: '127.0.0.1',
      ca: trusted.authority,
      servername: NAME,
    });
    slow.write(
      'POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await new Promise((resolve) => slow.once('close', resolve).resume());
    assert.equal((await ask(review)).status, 200);
    const { text } = await status('/metrics');
    for (const code of [400, 404, 405, 413, 415])
      assert.match(text, new RegExp(`netproxy_injector_bad_requests_total{status="${code}"} [1-9]`));
  });

  test('uses changed profiles, and what a broken one was before', async () => {
    assert.equal(await image('default'), 'docker.io/local/netproxy:test');
    mount(profiles, {
      'default.yaml': PROFILE.replace('netproxy:test', 'netproxy:next'),
      'old.yaml': CLASSIC,
    });
    await until('the new image', async () => (await image('default')) === 'docker.io/local/netproxy:next');
    mount(profiles, { 'default.yaml': 'container: {}', 'old.yaml': CLASSIC, 'new.yaml': 'x: [' });
    await until('the broken one is told of', async () =>
      (await status('/readyz')).text.includes('default.yaml'),
    );
    const { status: code, text } = await status('/readyz');
    assert.equal(code, 200);
    assert.match(text, /\[\+\]profiles ok\n {3}profiles: .*default\.yaml:1:1 container\.name: found nothing/);
    assert.equal(await image('default'), 'docker.io/local/netproxy:next');
    assert.match(String(await image('new')), /"new".* is broken/);
    assert.match((await status('/metrics')).text, /^netproxy_injector_profiles_broken 2$/m);
    assert.ok(lines.some(({ level, profile }) => level === 'error' && profile === 'new'));
    mount(profiles, { 'default.yaml': PROFILE, 'new.yaml': PROFILE });
    // Kubernetes removes the link, which leads nowhere now, a moment later.
    rmSync(join(profiles, 'old.yaml'));
    await until('all is well', async () => !(await status('/readyz')).text.includes('yaml'));
    assert.equal(await image('new'), 'docker.io/local/netproxy:test');
    assert.match(String(await image('old')), /there is no profile "old"/);
  });

  test('serves a renewed certificate without a restart', async () => {
    const before = trusted;
    await serve();
    agent.destroy();
    await until('the new one', () =>
      ask(reviewOf(podOf())).then(
        () => true,
        () => false,
      ),
    );
    // Trusting the one before is of no use now; a kept connection would not notice.
    agent.destroy();
    await assert.rejects(ask(reviewOf(podOf()), { ca: before.authority }));
    const { text } = await status('/metrics');
    const end = Number(/^netproxy_injector_certificate_end_timestamp_seconds (\S+)$/m.exec(text)?.[1]);
    assert.ok(end > Date.now() / 1000 + 80 * 86_400, text);
    // A key that does not belong there is not served.
    mount(tls, { 'tls.crt': trusted.certificate, 'tls.key': before.key });
    await until('it is told', async () =>
      (await status('/readyz')).text.includes('is not the key of tls.crt'),
    );
    assert.equal((await status('/readyz')).status, 200);
    assert.equal((await ask(reviewOf(podOf()))).status, 200);
  });

  test('tells every metric of the table, and no others', async () => {
    const { text } = await status('/metrics');
    const told = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name]) => name);
    assert.deepEqual(new Set(told), new Set(Object.keys(INJECTOR_METRICS)));
    assert.match(text, /^netproxy_injector_admissions_total{result="refused",profile="default"} \d+$/m);
    assert.match(text, /^netproxy_injector_admission_seconds_count{result="injected"} [1-9]/m);
    assert.equal((await status('/livez')).status, 200);
    assert.equal((await status('/other')).status, 404);
  });

  test('told to end, it is not ready, answers on closing connections, and ends', async () => {
    stop.abort('SIGTERM');
    await until('not ready', async () => (await status('/readyz')).status === 503);
    const { status: code, connection } = await ask(reviewOf(podOf()));
    assert.deepEqual([code, connection], [200, 'close']);
    await ended;
    await assert.rejects(ask(reviewOf(podOf())));
  });
});

describe('the start of netproxy injector', () => {
  const io = {
    log: { debug() {}, info() {}, warn() {}, error() {} },
    ...{ stop: new AbortController().signal, version: '1' },
  };
  const load = (environment: Record<string, string>): ReturnType<typeof loadInjectorConfig> =>
    loadInjectorConfig({ flags: new Map(), environment });
  const problems = (environment: Record<string, string>): string[] => {
    try {
      load(environment);
    } catch (error) {
      if (error instanceof ProblemsError)
        return error.problems.map(({ where, message }) => `${where}: ${message}`);
      throw error;
    }
    return [];
  };

  test('tells everything that is wrong with its settings', () => {
    assert.match(problems({}).join(), /--tls-secret: found neither/);
    const both = { NETPROXY_INJECTOR_TLS_SECRET: 's', NETPROXY_INJECTOR_TLS_FOLDER: '/f' };
    assert.match(problems(both).join(), /found both/);
    assert.match(problems({ NETPROXY_INJECTOR_TLS_SECRET: 's' }).join(), /--webhook: is missing/);
    const wrong = {
      ...{ NETPROXY_INJECTOR_TLS_SECRET: 'No Name', NETPROXY_INJECTOR_LISTEN: '8443' },
      ...{ NETPROXY_INJECTOR_CLUSTER_CIDRS: '10.0.0.0/8,10.0.0.1/8', NETPROXY_INJECTOR_PROFILE: 'x' },
    };
    const told = problems(wrong);
    for (const name of Object.keys(wrong))
      assert.ok(
        told.some((line) => line.startsWith(name)),
        `${name}: ${told.join()}`,
      );
  });

  test('fails with the file and key of a broken profile, and without the folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'netproxy-injector-'));
    const start = (): Promise<void> =>
      injector(
        load({ NETPROXY_INJECTOR_TLS_FOLDER: folder, NETPROXY_INJECTOR_PROFILES: folder }),
        io,
        () => {},
      );
    try {
      writeFileSync(join(folder, 'a.yaml'), PROFILE);
      writeFileSync(join(folder, 'b.yaml'), PROFILE.replace('image:', 'imgae:'));
      await assert.rejects(start(), { message: /b\.yaml:2:1 container\.image: found nothing/ });
      rmSync(folder, { recursive: true });
      await assert.rejects(start(), { code: 'PROFILE_INVALID', message: /ENOENT/ });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('fails where a Secret is to be kept and there is no cluster', async () => {
    const config = load({ NETPROXY_INJECTOR_TLS_SECRET: 's', NETPROXY_INJECTOR_WEBHOOK: 'w' });
    await assert.rejects(
      injector(config, io, () => {}),
      { code: 'KUBERNETES_UNREACHABLE' },
    );
    const inside = load({
      ...{ NETPROXY_INJECTOR_TLS_SECRET: 's', NETPROXY_INJECTOR_WEBHOOK: 'w' },
      ...{ KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '1' },
      NETPROXY_INJECTOR_SERVICE_ACCOUNT: '/nowhere',
    });
    await assert.rejects(
      injector(inside, io, () => {}),
      { message: /the service account: ENOENT/ },
    );
  });
});

test('readiness has a line for each condition', () => {
  assert.deepEqual(readiness([{ name: 'a', problem: undefined, remarks: ['so'] }]), [
    200,
    '[+]a ok\n   a: so\nready\n',
  ]);
  assert.deepEqual(readiness([{ name: 'a', problem: 'no' }]), [503, '[-]a failed: no\nnot ready\n']);
});
