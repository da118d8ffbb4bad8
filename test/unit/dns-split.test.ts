/** Which names are local. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseCidr } from '../../src/core/cidr.ts';
import { reverseZones, Split } from '../../src/dns/split.ts';

const split = new Split({
  local: ['corp.test', 'deep.far.test'],
  far: ['far.test', 'eng.search.test', 'corp.internal'],
  found: ['search.test', 'mynet'],
  networks: ['192.0.2.10/24', '10.32.0.0/12', '2001:db8:1::10/64'],
});

const SIDES = {
  local: [
    ...['db', 'db.mynet', 'a.search.test', 'search.test', 'x.corp.test', 'printer.local', 'a.svc'],
    ...[
      'kubernetes.default.svc.cluster.local',
      'ip-10-0-0-1.ec2.internal',
      'a.deep.far.test',
      'nas.home.arpa',
    ],
    ...['10.2.0.192.in-addr.arpa', '1.0.0.127.in-addr.arpa', '9.9.40.10.in-addr.arpa'],
    '0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
  ],
  far: [
    ...['.', 'example.com', 'mynet.example', 'notcorp.test', 'far.test', 'a.far.test', 'x.eng.search.test'],
    ...['a.corp.internal', '1.1.1.1.in-addr.arpa', '9.9.48.10.in-addr.arpa', 'local.example', 'in-addr.arpa'],
  ],
  self: ['localhost', 'a.localhost'],
} as const;

for (const [side, names] of Object.entries(SIDES)) {
  test(`${side}: ${names.join(' ')}`, () => {
    for (const name of names) assert.equal(split.sideOf(name), side, name);
  });
}

test('reverse zones hold exactly the addresses of their network', () => {
  const octet = fc.integer({ min: 0, max: 255 });
  const addresses = fc.tuple(octet, octet, octet, octet);
  fc.assert(
    fc.property(addresses, addresses, fc.integer({ min: 1, max: 32 }), (a, b, prefix) => {
      const cidr = parseCidr(`${a.join('.')}/${prefix}`)!;
      const zones = reverseZones(cidr);
      const name = `${b.toReversed().join('.')}.in-addr.arpa`;
      const inside = parseCidr(`${b.join('.')}/${prefix}`)!.network === cidr.network;
      assert.equal(
        zones.some((zone) => name === zone || name.endsWith(`.${zone}`)),
        inside,
      );
    }),
  );
});
