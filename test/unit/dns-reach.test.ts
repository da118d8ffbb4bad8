/** Which families of addresses a far end reaches: probes, and what dials show; far end and clock are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { Dialer } from '../../src/core/dialer.ts';
import { DNS_REACH_MAX, DNS_REACH_MS, DNS_REACH_PROBE_MS } from '../../src/core/limits.ts';
import { Reach } from '../../src/dns/reach.ts';
import type { AddressPolicy } from '../../src/dns/reach.ts';
import { TYPE } from '../../src/dns/question.ts';
import { FarNetwork, turns } from './far-network.ts';
import type { Place } from './far-network.ts';

/** Where a default route leads that nobody answers by (RFC 5737, RFC 3849). */
const [ANY4, ANY6] = ['192.0.2.1', '2001:db8::1'];
const [SITE4, SITE6] = ['203.0.113.7', '2001:db8:7:1::7'];

let now = 0;
let network: FarNetwork;
let said: string[];
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  now = 1000;
  network = new FarNetwork();
  network.elsewhere = 'host-unreachable';
  said = [];
});
afterEach(() => mock.timers.reset());

function make(policy: AddressPolicy = 'auto', dialer: () => FarNetwork | undefined = () => network): Reach {
  const say = (_fields: object, message: string): void => void said.push(message);
  return new Reach({ dialer, policy, log: { debug: say, info: say, warn: say, error: say }, now: () => now });
}

/** Undefined: it is not yet known. */
async function useful(reach: Reach, type: number, ...addresses: string[]): Promise<boolean | undefined> {
  const found: boolean[] = [];
  reach.useful(type, addresses, (is) => void found.push(is));
  await turns();
  assert.ok(found.length <= 1);
  return found[0];
}

/** Says of addresses what a dial there comes to. */
function lead(to: Readonly<Record<string, Place>>): void {
  network.dials.length = 0;
  for (const [address, place] of Object.entries(to)) network.places.set(address, place);
}

test('"yes" gives all, "no" gives all but IPv6, and neither tries anything', async () => {
  const found = async (policy: AddressPolicy): Promise<unknown[]> => {
    const reach = make(policy);
    const { a, aaaa, ptr } = TYPE;
    return [
      await useful(reach, aaaa, SITE6),
      await useful(reach, aaaa),
      await useful(reach, a, SITE4),
      await useful(reach, ptr),
    ];
  };
  assert.deepEqual(await found('yes'), [true, true, true, true]);
  assert.deepEqual(await found('no'), [false, false, true, true]);
  assert.deepEqual(network.dials, []);
});

test('the dialer that is watched is given the flow that waits, so that the engine accepts it by itself', () => {
  const given: (number | undefined)[] = [];
  const dialer: Dialer = {
    dial: (_target, _origin, { flow }) => {
      given.push(flow);
      return { cancel() {} };
    },
  };
  const place = { address: SITE4, port: 80 };
  make()
    .watch(dialer)
    .dial(place, place, { flow: 7, opened() {}, failed() {} });
  assert.deepEqual(given, [7]);
});

test('types without addresses, and answers without any, are not tried', async () => {
  const reach = make();
  for (const [type, ...addresses] of [[TYPE.ptr], [TYPE.aaaa], [TYPE.a]] as [number, ...string[]][])
    assert.equal(await useful(reach, type, ...addresses), true);
  assert.deepEqual(network.dials, []);
});

for (const there of ['refused', 'host-unreachable', 'prohibited', () => undefined] as Place[]) {
  test(`a default route is one, whatever it leads to (${typeof there === 'string' ? there : 'opened'})`, async () => {
    lead({ [ANY6]: there });
    const reach = make();
    assert.equal(await useful(reach, TYPE.aaaa, SITE6), true);
    assert.deepEqual(network.dials, [`${ANY6}:443`]);
    assert.ok(
      network.channels.every(({ aborted }) => aborted),
      'what it opened it closes',
    );
    now += DNS_REACH_MS - 1;
    assert.equal(await useful(reach, TYPE.aaaa, '2001:db8:8::1'), true);
    assert.equal(network.dials.length, 1, 'known');
    now += 1;
    await useful(reach, TYPE.aaaa, SITE6);
    assert.equal(network.dials.length, 2, 'and looked at again');
  });
}

test('silence means that there is a way', async () => {
  lead({ [ANY6]: 'silent' });
  const reach = make();
  const found: boolean[] = [];
  reach.useful(TYPE.aaaa, [SITE6], (is) => void found.push(is));
  await turns();
  assert.deepEqual(found, []);
  mock.timers.tick(DNS_REACH_PROBE_MS);
  assert.deepEqual([found, network.cancelled], [[true], 1]);
});

test('without a default route a network of its own may be there all the same', async () => {
  lead({ [ANY6]: 'network-unreachable', [SITE6]: 'refused', '2001:db8:9::1': 'network-unreachable' });
  const reach = make();
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), true);
  assert.equal(await useful(reach, TYPE.aaaa, '2001:db8:9::1'), false);
  // What shares 48 bits shares the answer.
  lead({});
  assert.equal(await useful(reach, TYPE.aaaa, '2001:db8:7:2::9'), true);
  assert.equal(await useful(reach, TYPE.aaaa, '2001:db8:9:5::1'), false);
  assert.deepEqual(network.dials, []);
});

for (const [type, family, own, all, others] of [
  [TYPE.aaaa, 6, SITE6, ANY6, ANY4],
  [TYPE.a, 4, SITE4, ANY4, ANY6],
] as const) {
  test(`a far end without IPv${family} is told of once; where neither family leads anywhere, nothing is kept back`, async () => {
    lead({ [all]: 'network-unreachable', [own]: 'network-unreachable' });
    const reach = make();
    assert.equal(await useful(reach, type, own), false);
    assert.equal(await useful(reach, type, own), false);
    assert.equal(said.length, 1);
    assert.match(said[0]!, new RegExp(`no IPv${family}`));
    lead({ [others]: 'network-unreachable' });
    reach.use('auto');
    assert.equal(await useful(reach, type, own), true);
  });
}

test('a bastion that is away shows nothing', async () => {
  lead({ [ANY6]: 'no-upstream' });
  const reach = make();
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), true);
  lead({ [ANY6]: 'network-unreachable', [SITE6]: 'network-unreachable' });
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), false, 'looked at when it is back');
  const without = make('auto', () => undefined);
  assert.equal(await useful(without, TYPE.aaaa, SITE6), true);
});

test("the application's own connects show it too", async () => {
  lead({ [ANY6]: 'network-unreachable', [SITE6]: 'network-unreachable' });
  const reach = make();
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), false);
  const dial = async (address: string, place: Place): Promise<void> => {
    network.places.set(address, place);
    const done: unknown[] = [];
    reach.watch(network).dial(
      { address, port: 80 },
      { address: '::1', port: 1 },
      {
        opened: (channel) => void done.push(channel),
        failed: (failure) => void done.push(failure),
      },
    );
    await turns();
    assert.equal(done.length, 1, 'the dialer is told as well');
  };
  await dial(SITE6, 'host-unreachable');
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), false, 'that says nothing of the route');
  await dial(SITE6, 'refused');
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), true);
  await dial(SITE6, 'network-unreachable');
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), false);
  await dial(SITE6, () => undefined);
  assert.equal(await useful(reach, TYPE.aaaa, SITE6), true);
  await dial('name.test', 'network-unreachable');
});

test('questions at the same time wait for one probe', async () => {
  lead({ [ANY6]: 'refused' });
  const reach = make();
  const all = await Promise.all(Array.from({ length: 20 }, () => useful(reach, TYPE.aaaa, SITE6)));
  assert.deepEqual([new Set(all), network.dials.length], [new Set([true]), 1]);
});

test('networks that are remembered are bounded: the one seen longest ago goes', async () => {
  lead({ [ANY6]: 'network-unreachable' });
  const reach = make();
  for (let i = 0; i < DNS_REACH_MAX + 5; i++)
    await useful(reach, TYPE.aaaa, `2001:db8:${(i + 256).toString(16)}::1`);
  const defaults = network.dials.filter((to) => to === `${ANY6}:443`);
  assert.equal(defaults.length, 2, 'noted first, forgotten first, and looked at again');
  lead({});
  await useful(reach, TYPE.aaaa, '2001:db8:100::1');
  assert.deepEqual(network.dials, ['2001:db8:100::1:443']);
});
