/** The search for the resolver of a far end, its loss, and what is asked then; far end and clock are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import {
  DNS_PROBE_DEADLINE_MS,
  DNS_QUERY_DEADLINE_MS,
  DNS_RESOLVERS_MAX,
  DNS_SEARCH_PAUSE_MS,
} from '../../src/core/limits.ts';
import { Far } from '../../src/dns/far.ts';
import { makeQuery } from '../../src/dns/question.ts';
import { FarNetwork, resolver, turns } from './far-network.ts';

const STUBS = ['127.0.0.53:53', '127.0.0.1:53'];
const SILENT = (): undefined => {};
const REFUSED = 5;

let now = 0;
let network: FarNetwork;
let resolvConf: string | undefined;
let said: string[];
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  now = 1000;
  network = new FarNetwork();
  resolvConf = undefined;
  said = [];
});
afterEach(() => mock.timers.reset());

async function pass(ms: number): Promise<void> {
  now += ms;
  mock.timers.tick(ms);
  await turns();
}

function make(...upstream: string[]): Far {
  const say = (_fields: object, message: string): void => void said.push(message);
  return new Far({
    through: 'main',
    dialer: () => network,
    readFile: (path, maxBytes) => {
      assert.equal(path, '/etc/resolv.conf');
      if (resolvConf === undefined) return Promise.reject(new Error('no SFTP'));
      return Promise.resolve(Buffer.from(resolvConf).subarray(0, maxBytes));
    },
    upstream: upstream.map((address) => ({ address, port: 53 })),
    log: { debug() {}, info: say, warn: say, error: say },
    now: () => now,
  });
}

const WIRE = makeQuery('name.test', 1);

/** Asks; the list gets what is answered, or undefined. */
function ask(far: Far, fallback?: string): (string | undefined)[] {
  const answers: (string | undefined)[] = [];
  far.ask(WIRE, WIRE.length, fallback, (answer) => {
    answers.push(answer === undefined ? undefined : Buffer.from(answer.subarray(WIRE.length)).toString());
  });
  return answers;
}

test('of the configured resolvers the first that works is used, although a later one answers sooner', async () => {
  let probe: Buffer | undefined;
  network.places.set('10.0.0.2', (query) => {
    if (probe !== undefined) return resolver('second')(query);
    probe = query;
    return undefined;
  });
  network.places.set('10.0.0.3', resolver('third'));
  const far = make('10.0.0.1', '10.0.0.2', '10.0.0.3');
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, []);
  network.channels.find(({ asked: all }) => all.includes(probe!))!.say(resolver('')(probe!)!);
  await turns();
  assert.deepEqual(asked, ['second']);
  assert.equal(far.endpoint?.address, '10.0.0.2');
  assert.deepEqual(network.dials, ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.3:53'], 'no other is looked for');
  assert.match(said[0]!, /by 10\.0\.0\.2:53, through main/);
  assert.ok(network.channels.at(-1)!.aborted, 'what is not used is closed');
  far.close();
});

test("without any, the bastion's own stubs are tried, and those that its resolv.conf names", async () => {
  resolvConf = 'nameserver fe80::1%eth0\nnameserver 127.0.0.1\nnameserver 10.0.0.7\n';
  network.places.set('10.0.0.7', resolver('seven'));
  const far = make();
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, ['seven']);
  // Each once, and none on a device of the bastion's.
  assert.deepEqual(network.dials, [...STUBS, '10.0.0.7:53']);
  far.close();
});

test('a stub that works is used at once, whatever resolv.conf says', async () => {
  resolvConf = 'nameserver 10.0.0.7\n';
  network.places.set('127.0.0.53', SILENT).set('127.0.0.1', resolver('stub'));
  network.places.set('10.0.0.7', resolver('seven'));
  const far = make();
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, [], 'the first in order may still answer');
  await pass(DNS_PROBE_DEADLINE_MS);
  assert.deepEqual(asked, ['stub']);
  assert.ok(!network.dials.includes('10.0.0.7:53'));
  far.close();
});

test('a resolver that only refuses is better than none, and worse than any other', async () => {
  network.places.set('127.0.0.53', resolver('refusing', REFUSED));
  const far = make();
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, ['refusing']);
  network.places.set('127.0.0.1', resolver('good'));
  far.use([]);
  const again = ask(far);
  await turns();
  assert.deepEqual(again, ['good']);
  far.close();
});

test('where there is none, the one that the application addressed is asked, and for a while none is looked for', async () => {
  network.places.set('192.0.2.53', resolver('addressed'));
  const far = make();
  const asked = [ask(far, '192.0.2.53'), ask(far)];
  await turns();
  assert.deepEqual(asked, [['addressed'], [undefined]], 'and nobody, where that one is local');
  assert.deepEqual(network.dials, [...STUBS, '192.0.2.53:53']);
  now += DNS_SEARCH_PAUSE_MS - 1;
  assert.equal((ask(far), await turns(), network.dials.length), 3);
  now += 1;
  network.places.set('127.0.0.1', resolver('found'));
  const later = ask(far, '192.0.2.53');
  await turns();
  assert.deepEqual(later, ['found']);
  assert.match(said.join('\n'), /no resolver answers at the far end of main[^]*by 127\.0\.0\.1:53/);
  far.close();
});

test('with resolvers configured nobody else is asked', async () => {
  network.places.set('192.0.2.53', resolver('addressed'));
  const far = make('10.0.0.1');
  const asked = ask(far, '192.0.2.53');
  await turns();
  assert.deepEqual([asked, network.dials], [[undefined], ['10.0.0.1:53']]);
  far.close();
});

test('resolvers that applications address are bounded: the one used longest ago is closed', async () => {
  network.elsewhere = resolver('any');
  for (const stub of STUBS) network.places.set(stub, 'refused');
  const far = make();
  ask(far);
  await turns();
  for (let i = 0; i <= DNS_RESOLVERS_MAX; i++) {
    ask(far, `192.0.2.${i}`);
    await turns();
  }
  const open = network.channels.filter(({ aborted }) => !aborted);
  assert.equal(open.length, DNS_RESOLVERS_MAX);
  assert.ok(network.channels[0]!.aborted);
  far.close();
});

test('a resolver that moved is found anew, for the very question that it did not answer', async () => {
  network.places.set('127.0.0.53', resolver('old'));
  const far = make();
  ask(far);
  await turns();
  // It restarts elsewhere: its channel is closed, and nobody listens there any more.
  network.places.set('127.0.0.53', 'refused').set('127.0.0.1', resolver('new'));
  network.channels[0]!.close();
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, ['new']);
  assert.equal(far.endpoint?.address, '127.0.0.1');
  far.close();
});

test('one that falls silent costs a question its time, and the next one looks for another', async () => {
  let mute = false;
  network.places.set('127.0.0.53', (query) => (mute ? undefined : resolver('old')(query)));
  const far = make();
  ask(far);
  await turns();
  mute = true;
  network.places.set('127.0.0.1', resolver('new'));
  const lost = ask(far);
  await pass(DNS_QUERY_DEADLINE_MS - 1);
  assert.deepEqual(lost, []);
  await pass(1);
  assert.deepEqual(lost, [undefined]);
  const next = ask(far);
  await turns();
  await pass(DNS_PROBE_DEADLINE_MS);
  assert.deepEqual(next, ['new']);
  far.close();
});

test('a question waits for a search no longer than it may, and is answered once', async () => {
  network.elsewhere = 'silent';
  const far = make();
  const asked = ask(far);
  await pass(DNS_QUERY_DEADLINE_MS);
  assert.deepEqual(asked, [undefined]);
  await pass(DNS_QUERY_DEADLINE_MS);
  assert.deepEqual(asked, [undefined]);
  // A bastion that is away says nothing of resolvers: no pause, and no line in the log.
  network.places.set('127.0.0.1', resolver('back'));
  network.elsewhere = 'refused';
  const later = ask(far);
  await turns();
  assert.deepEqual(later, ['back']);
  assert.equal(said.length, 1, said.join('\n'));
  far.close();
});

test('a bastion that is away, and says so, is no pause in the search either', async () => {
  network.elsewhere = 'no-bastion';
  const far = make();
  const asked = ask(far);
  await turns();
  assert.deepEqual(asked, [undefined]);
  assert.deepEqual(said, []);
  network.places.set('127.0.0.1', resolver('back'));
  network.elsewhere = 'refused';
  const later = ask(far);
  await turns();
  assert.deepEqual(later, ['back']);
  far.close();
});

test('other resolvers take over what is under way', async () => {
  network.places.set('10.0.0.1', SILENT).set('10.0.0.2', resolver('second'));
  let probed = false;
  network.places.set('10.0.0.1', (query) => {
    if (probed) return undefined;
    probed = true;
    return resolver('')(query);
  });
  const far = make('10.0.0.1');
  const asked = ask(far);
  await turns();
  assert.equal(far.endpoint?.address, '10.0.0.1');
  far.use([{ address: '10.0.0.2', port: 53 }]);
  await turns();
  assert.deepEqual(asked, ['second']);
  far.close();
});

test('many questions at once begin one search; after the end none is answered but by nothing', async () => {
  network.places.set('127.0.0.53', resolver('x'));
  const far = make();
  const all = Array.from({ length: 50 }, () => ask(far));
  await turns();
  assert.deepEqual(new Set(all.map(([answer]) => answer)), new Set(['x']));
  assert.deepEqual(network.dials, STUBS);
  network.places.set('127.0.0.53', SILENT);
  far.close();
  const late = ask(far);
  await turns();
  assert.deepEqual(late, [undefined]);
  assert.ok(network.channels.every(({ aborted }) => aborted));
});
