/** Which rule decides. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { familyOf } from '../../src/core/address.ts';
import type { Owner } from '../../src/core/owner.ts';
import { ruleFields, rulesPolicy } from '../../src/policy/policy.ts';
import type { FactSources, FlowFacts, Verdict } from '../../src/policy/policy.ts';
import { parseVia } from '../../src/policy/rule.ts';
import type { Rule } from '../../src/policy/rule.ts';

type Given = Partial<Omit<Rule, 'via'>> & { readonly via: string };

function rulesOf(...given: readonly Given[]): Rule[] {
  return given.map((each, index) => ({
    ...{ to: [], ports: [], protocol: undefined, names: [], uid: [], gid: [], process: [] },
    ...{ container: [], cgroup: [], where: `f:${index}`, resolve: undefined },
    ...each,
    via: parseVia(each.via)!,
  }));
}

function flow(address: string, port: number, more: Partial<FlowFacts> = {}): FlowFacts {
  const family = familyOf(address)!;
  const source = { address: family === 4 ? '10.0.0.9' : 'fd00::9', port: 40_000 };
  return { protocol: 'tcp', family, source, destination: { address, port }, ...more };
}

function decide(rules: readonly Rule[], of: FlowFacts, sources: FactSources = {}): Verdict {
  return rulesPolicy(rules, 'last', sources).decide(of);
}

const where = (verdict: Verdict): string => verdict.rule.where;

describe('a rule asks for', () => {
  test('networks of both families, to the bit', () => {
    const rules = rulesOf(
      { to: ['10.20.0.0/15', '2001:db8::/33'], via: 'a' },
      { to: ['0.0.0.0/0'], via: 'four' },
      { to: ['::ffff:10.0.0.0/104'], via: 'mapped' },
    );
    const found = (address: string): string => where(decide(rules, flow(address, 1)));
    assert.equal(found('10.20.0.0'), 'f:0');
    assert.equal(found('10.21.255.255'), 'f:0');
    assert.equal(found('10.22.0.0'), 'f:1');
    assert.equal(found('10.19.255.255'), 'f:1');
    assert.equal(found('2001:db8:7fff::1'), 'f:0');
    assert.equal(found('2001:db8:8000::1'), 'built-in');
    assert.equal(found('::ffff:10.1.2.3'), 'f:2');
    assert.equal(found('::'), 'built-in');
  });

  test('ports, and the protocol', () => {
    const rules = rulesOf(
      {
        ports: [
          { first: 80, last: 80 },
          { first: 8000, last: 8999 },
        ],
        protocol: 'tcp',
        via: 'web',
      },
      { protocol: 'udp', via: 'relay' },
    );
    assert.equal(where(decide(rules, flow('1.1.1.1', 8999))), 'f:0');
    assert.equal(where(decide(rules, flow('1.1.1.1', 9000))), 'built-in');
    assert.deepEqual(decide(rules, flow('1.1.1.1', 80, { protocol: 'udp' })), {
      kind: 'relay',
      upstream: 'last',
      rule: { text: 'protocol udp, via relay', where: 'f:1' },
      why: 'protocol udp',
    });
  });

  test('names, which the map of names has for the address', () => {
    const rules = rulesOf(
      { names: ['db.example', '*.corp.example'], via: 'a' },
      { names: ['web-*-x.example', '*.q*.test'], via: 'b' },
      { names: ['/^n[0-9]{1,3}\\.example$/'], via: 'c' },
    );
    const found = (name: string | undefined): string =>
      where(
        decide(rules, flow('192.0.2.1', 443), {
          names: { namesOf: () => (name === undefined ? [] : [name]) },
        }),
      );
    const expected: Record<string, string> = {
      'db.example': 'f:0',
      'xdb.example': 'built-in',
      'a.corp.example': 'f:0',
      'a.b.corp.example': 'f:0',
      'corp.example': 'built-in',
      'web-1-x.example': 'f:1',
      'web--x.example': 'f:1',
      'web-x.example': 'built-in',
      'web-1.2-x.example': 'built-in',
      'a.b.qq.test': 'f:1',
      'qq.test': 'built-in',
      'n12.example': 'f:2',
      'n1234.example': 'built-in',
      'xn1.example': 'built-in',
    };
    for (const [name, rule] of Object.entries(expected)) assert.equal(found(name), rule, name);
    assert.equal(found(undefined), 'built-in');
  });

  test('any of the names that share an address, and says which it was', () => {
    const rules = rulesOf(
      { names: ['old.example'], via: 'a' },
      { names: ['*.cdn.example', '/late.*/'], via: 'b' },
    );
    const found = (...known: readonly string[]): readonly string[] => {
      const verdict = decide(rules, flow('192.0.2.1', 443), { names: { namesOf: () => known } });
      return [where(verdict), verdict.why];
    };
    assert.deepEqual(found('other.example', 'a.cdn.example'), ['f:1', 'name a.cdn.example']);
    assert.deepEqual(found('later.example', 'a.cdn.example'), ['f:1', 'name later.example'], 'the latest');
    // The order of the rules counts, not that of the names.
    assert.deepEqual(found('a.cdn.example', 'old.example'), ['f:0', 'name old.example']);
    assert.deepEqual(found('x.example', 'y.example'), ['built-in', 'no rule matches']);
  });

  test('owners, who are looked up only when it matters', () => {
    const rules = rulesOf(
      { ports: [{ first: 22, last: 22 }], uid: [1000], via: 'a' },
      { ports: [{ first: 22, last: 22 }], gid: [7], process: ['curl', 'wget'], via: 'b' },
      { ports: [{ first: 23, last: 23 }], container: ['0123456789ab'], via: 'c' },
      { ports: [{ first: 23, last: 23 }], cgroup: ['/a/b'], via: 'd' },
    );
    let asked = 0;
    const found = (port: number, owner: Owner | undefined): string => {
      const owners = { ownerOf: () => (asked++, owner) };
      return where(decide(rules, flow('192.0.2.1', port), { owners }));
    };
    assert.equal(found(80, { uid: 1000 }), 'built-in');
    assert.equal(asked, 0);
    assert.equal(found(22, { uid: 1000 }), 'f:0');
    assert.equal(found(22, { uid: 1, gid: 7, process: ['x', 'wget'] }), 'f:1');
    assert.equal(found(22, { uid: 1, gid: 7 }), 'built-in');
    assert.equal(found(22, undefined), 'built-in');
    assert.equal(asked, 4);
    assert.equal(found(23, { container: '0123456789abcdef' }), 'f:2');
    assert.equal(found(23, { cgroup: '/a/b/c' }), 'f:3');
    assert.equal(found(23, { cgroup: '/a/bc' }), 'built-in');
  });

  test('nothing, and then takes all', () => {
    assert.deepEqual(decide(rulesOf({ via: 'reject:prohibited' }), flow('::1', 1)), {
      kind: 'reject',
      reason: 'prohibited',
      rule: { text: 'via reject:prohibited', where: 'f:0' },
      why: 'it asks nothing',
    });
  });
});

test('the first rule that matches decides; what none matches goes to the last resort', () => {
  const rules = rulesOf({ to: ['10.0.0.0/8'], via: 'a' }, { to: ['10.1.0.0/16'], via: 'b' });
  assert.equal(where(decide(rules, flow('10.1.2.3', 1))), 'f:0');
  assert.deepEqual(decide(rules, flow('11.0.0.1', 1)), {
    kind: 'upstream',
    upstream: 'last',
    rule: { text: 'the last resort', where: 'built-in' },
    why: 'no rule matches',
  });
});

test('link-local and metadata addresses are rejected before any rule', () => {
  const verdict = decide(rulesOf({ via: 'direct' }), flow('169.254.169.254', 80));
  assert.deepEqual([verdict.kind, verdict.rule.where], ['reject', 'built-in']);
});

test('UDP to a bastion is refused at once', () => {
  const rules = rulesOf({ to: ['10.0.0.0/8'], via: 'a' });
  assert.equal(decide(rules, flow('10.0.0.1', 443, { protocol: 'udp' })).kind, 'reject');
});

test('a question to a resolver is DNS, whatever its address, but for rules that name its port', () => {
  const dns = [{ first: 53, last: 53 }];
  const rules = rulesOf(
    { to: ['11.0.0.0/8'], ports: dns, via: 'direct' },
    { to: ['12.0.0.0/8'], ports: dns, via: 'reject' },
    { to: ['13.0.0.0/8'], ports: dns, via: 'a' },
    { to: ['10.0.0.0/8'], via: 'direct' },
    { via: 'reject' },
  );
  const kinds = (address: string): string[] =>
    (['udp', 'tcp'] as const).map((protocol) => decide(rules, flow(address, 53, { protocol })).kind);
  assert.deepEqual(kinds('10.0.0.1'), ['dns', 'dns']);
  assert.deepEqual(kinds('14.0.0.1'), ['dns', 'dns']);
  assert.deepEqual(kinds('11.0.0.1'), ['direct', 'direct']);
  assert.deepEqual(kinds('12.0.0.1'), ['reject', 'reject']);
  assert.deepEqual(kinds('13.0.0.1'), ['dns', 'upstream']);
});

test('the relay is given no questions to resolvers, but by a rule that names their port', () => {
  const udp = (port: number): ReturnType<typeof flow> => flow('10.0.0.1', port, { protocol: 'udp' });
  const all = rulesOf({ protocol: 'udp', via: 'relay' });
  assert.equal(decide(all, udp(53)).kind, 'dns');
  assert.equal(decide(all, udp(54)).kind, 'relay');
  const named = rulesOf({ protocol: 'udp', ports: [{ first: 53, last: 53 }], via: 'relay' });
  assert.equal(decide(named, udp(53)).kind, 'relay');
});

test('the log names the rule by its place, and what of the flow it asked for', () => {
  const rules = rulesOf({ to: ['10.0.0.0/8'], ports: [{ first: 1, last: 9 }], via: 'a' });
  assert.deepEqual(ruleFields(decide(rules, flow('10.1.2.3', 5))), {
    rule: 'f:0 to 10.0.0.0/8, ports 1-9, via a',
    because: 'to 10.1.2.3, port 5',
  });
});
