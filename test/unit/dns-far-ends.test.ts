/** Far ends of several bastions: each with its own resolver, made on first use; far ends are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { DNS_FAR_ENDS_MAX } from '../../src/core/limits.ts';
import { FarEnds } from '../../src/dns/far-ends.ts';
import type { FarEndSettings } from '../../src/dns/far-ends.ts';
import { makeQuery, TYPE } from '../../src/dns/question.ts';
import { FarNetwork, resolver, turns } from './far-network.ts';

const SETTINGS: FarEndSettings = { upstream: [], aaaa: 'auto' };
const log = { debug() {}, info() {}, warn() {}, error() {} };

let networks: Map<string, FarNetwork>;
let files: string[];
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  networks = new Map();
  files = [];
  for (const name of ['one', 'two']) add(name);
});
afterEach(() => mock.timers.reset());

function add(name: string): FarNetwork {
  const network = new FarNetwork();
  network.places.set('127.0.0.53', resolver(name));
  networks.set(name, network);
  return network;
}

/** Names of `x.two.test` belong to "two". */
function make(settings = SETTINGS): FarEnds {
  return new FarEnds({
    upstreams: {
      lastResort: () => 'one',
      upstreamOf: (name) => name.split('.').at(-2) ?? 'one',
      dialer: (name) => networks.get(name),
      readFile(name) {
        files.push(name);
        return Promise.reject(new Error('no SFTP'));
      },
    },
    ...{ settings, log, now: () => 0 },
  });
}

async function ask(ends: FarEnds, name: string): Promise<string | undefined> {
  const wire = makeQuery(name, TYPE.a);
  const answers: (string | undefined)[] = [];
  ends.endOf(name).far.ask(wire, wire.length, undefined, (answer) => {
    answers.push(answer && Buffer.from(answer.subarray(wire.length)).toString());
  });
  await turns();
  assert.equal(answers.length, 1);
  return answers[0];
}

test('each name is asked of the resolver of its own upstream, which is looked for when it is first needed', async () => {
  const ends = make();
  ends.warm();
  await turns();
  assert.deepEqual([ends.resolvers, networks.get('two')!.dials], [{ one: '127.0.0.53:53' }, []]);
  assert.equal(await ask(ends, 'x.one.test'), 'one');
  assert.equal(await ask(ends, 'x.two.test'), 'two');
  assert.deepEqual(ends.resolvers, { one: '127.0.0.53:53', two: '127.0.0.53:53' });
  assert.deepEqual(new Set(files), new Set(['one', 'two']), 'each by its own resolv.conf');
  ends.close();
});

test('configured resolvers are those of the last resort, or of the upstream that they name', async () => {
  networks.get('one')!.places.set('10.0.0.1', resolver('one, configured'));
  networks.get('two')!.places.set('10.0.0.2', resolver('two, configured'));
  const upstream = [
    { upstream: undefined, address: '10.0.0.1', port: 53 },
    { upstream: 'two', address: '10.0.0.2', port: 53 },
  ];
  const ends = make({ ...SETTINGS, upstream });
  add('three');
  assert.equal(await ask(ends, 'x.one.test'), 'one, configured');
  assert.equal(await ask(ends, 'x.two.test'), 'two, configured');
  assert.equal(await ask(ends, 'x.three.test'), 'three', 'looked for where none is configured');
  ends.follow({ ...SETTINGS, upstream: upstream.slice(0, 1) });
  assert.equal(await ask(ends, 'x.two.test'), 'two');
  ends.close();
});

test('an upstream that is gone has its channels closed, and one that is there is looked at anew', async () => {
  const ends = make();
  await ask(ends, 'x.one.test');
  await ask(ends, 'x.two.test');
  const [one, two] = [networks.get('one')!, networks.get('two')!];
  networks.delete('two');
  one.places.set('127.0.0.53', resolver('one, moved'));
  ends.follow(SETTINGS);
  await turns();
  assert.deepEqual(
    [one, two].map(({ channels }) => channels.every(({ aborted }) => aborted)),
    [true, true],
  );
  assert.deepEqual(ends.resolvers, {});
  assert.equal(await ask(ends, 'x.one.test'), 'one, moved');
  assert.equal(await ask(ends, 'x.two.test'), undefined, 'no such bastion');
  ends.close();
});

test('they are bounded: the one used longest ago is closed, and made again when it is needed', async () => {
  const ends = make();
  for (let i = 0; i <= DNS_FAR_ENDS_MAX; i++) {
    add(`u${i}`);
    assert.equal(await ask(ends, `x.u${i}.test`), `u${i}`);
  }
  assert.equal(Object.keys(ends.resolvers).length, DNS_FAR_ENDS_MAX);
  assert.ok(networks.get('u0')!.channels.every(({ aborted }) => aborted));
  assert.equal(await ask(ends, 'x.u0.test'), 'u0');
  ends.close();
  assert.ok([...networks.values()].every(({ channels }) => channels.every(({ aborted }) => aborted)));
});

test('what dials show of one far end counts for no other', async () => {
  const ends = make();
  const useful = async (name: string): Promise<boolean> => {
    const found = Promise.withResolvers<boolean>();
    ends.endOf(name).families.useful(TYPE.aaaa, ['2001:db8:7::1'], found.resolve);
    return found.promise;
  };
  for (const network of networks.values()) {
    network.elsewhere = 'network-unreachable';
    network.places.set('192.0.2.1', 'refused');
  }
  const unused = networks.get('two')!;
  assert.equal(ends.watch('two', unused), unused, 'of an upstream at which no name was looked up');
  assert.deepEqual([await useful('x.one.test'), await useful('x.two.test')], [false, false]);
  networks.get('two')!.places.set('2001:db8:7::1', 'refused');
  ends
    .watch('two', networks.get('two')!)
    .dial({ address: '2001:db8:7::1', port: 1 }, { address: '::1', port: 1 }, { opened() {}, failed() {} });
  await turns();
  assert.deepEqual([await useful('x.one.test'), await useful('x.two.test')], [false, true]);
  ends.close();
});
