/** Who netproxy becomes, and what it keeps, by what it was started with. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { planPrivileges } from '../../src/process/privileges.ts';
import type { Needs } from '../../src/process/privileges.ts';
import { isReadableBy } from '../../src/process/readable.ts';
import { CAPABILITY, parseStatus } from '../../src/process/status.ts';
import type { ProcessStatus } from '../../src/process/status.ts';

const NET_ADMIN_ALONE = '0000000000001000';
// What Docker gives, with NET_ADMIN.
const DOCKER = '00000000a80435fb';

const status = (uid: number, capabilities: string, groups = ''): ProcessStatus =>
  parseStatus(
    `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nGid:\t${uid}\t${uid}\t${uid}\t${uid}\nGroups:\t${groups} \nCapInh:\t0000000000000000\nCapPrm:\t${capabilities}\nCapEff:\t${capabilities}\nCapBnd:\t${capabilities}\nNoNewPrivs:\t1\nSeccomp:\t2\n`,
  );

test('the status of a process is read', () => {
  const { uid, groups, effective, noNewPrivileges, seccomp } = status(7, NET_ADMIN_ALONE, '4 2000');
  assert.deepEqual([uid, groups, [...effective], noNewPrivileges, seccomp], [7, [4, 2000], [12], true, true]);
  assert.equal(parseStatus(readFileSync('/proc/self/status', 'utf8')).uid, process.geteuid?.());
  assert.deepEqual(parseStatus('').effective, new Set());
});

const needs = (agent = false, file?: string, tofu = false, processes = false): Needs => ({
  agent,
  tofu,
  processes,
  unreadable: () => file,
});

test('uid 0 becomes nobody, and keeps NET_ADMIN and the groups that an operator gave', () => {
  assert.deepEqual(planPrivileges('auto', status(0, DOCKER, '0 6 10 2000'), needs()), {
    become: { uid: 65_534, gid: 65_534, groups: [2000] },
    keep: [CAPABILITY.NET_ADMIN],
    why: '',
    unwanted: false,
  });
  const { become } = planPrivileges({ uid: 1234, gid: 5678 }, status(0, DOCKER), needs());
  assert.deepEqual(become, { uid: 1234, gid: 5678, groups: [] });
  const seeing = [CAPABILITY.NET_ADMIN, CAPABILITY.DAC_READ_SEARCH, CAPABILITY.SYS_PTRACE];
  for (const user of ['auto', 'keep'] as const) {
    const { keep } = planPrivileges(user, status(0, DOCKER), needs(false, undefined, false, true));
    assert.deepEqual(keep, seeing, 'rules that ask for processes');
  }
});

test('what enters further namespaces keeps what that takes, and what the next one may need', () => {
  const { become, keep } = planPrivileges('keep', status(0, DOCKER), {
    ...needs(true, undefined, true, true),
    entering: true,
  });
  assert.equal(become, undefined);
  const { NET_ADMIN, SYS_ADMIN, SYS_PTRACE, DAC_OVERRIDE, DAC_READ_SEARCH } = CAPABILITY;
  assert.deepEqual(new Set(keep), new Set([NET_ADMIN, SYS_ADMIN, SYS_PTRACE, DAC_OVERRIDE, DAC_READ_SEARCH]));
  assert.equal(keep.length, new Set(keep).size);
});

test('it stays who it is where nothing else is possible, was asked for or would do', () => {
  const cases: [Parameters<typeof planPrivileges>, RegExp, unwanted: boolean][] = [
    [['keep', status(0, DOCKER), needs()], /"keep"/, false],
    [['auto', status(0, NET_ADMIN_ALONE), needs()], /without the capability SETUID/, false],
    [[{ uid: 9, gid: 9 }, status(0, NET_ADMIN_ALONE), needs()], /without the capability SETUID/, true],
    [['auto', status(0, '0000000000001080'), needs()], /without the capability SETGID/, false],
    [['auto', status(1000, NET_ADMIN_ALONE), needs()], /started as this user/, false],
    [[{ uid: 1000, gid: 1000 }, status(1000, NET_ADMIN_ALONE), needs()], /started as this user/, false],
    [['auto', status(0, DOCKER), needs(true)], /an SSH agent/, false],
    [['auto', status(0, DOCKER), needs(false, undefined, true)], /"tofu"/, false],
    [['auto', status(0, DOCKER), needs(false, '/key')], /could not read \/key again/, false],
  ];
  for (const [given, why, unwanted] of cases) {
    const plan = planPrivileges(...given);
    assert.equal(plan.become, undefined);
    assert.match(plan.why, why);
    assert.equal(plan.unwanted, unwanted, plan.why);
    assert.equal(plan.keep.includes(CAPABILITY.DAC_OVERRIDE), given[2].agent || given[2].tofu);
  }
  // Asked for in so many words.
  assert.ok(planPrivileges({ uid: 9, gid: 9 }, status(0, DOCKER), needs(true, '/key')).become);
});

test('who may read a file is told by its mode and those of the directories above', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-readable-'));
  const file = path.join(directory, 'key');
  writeFileSync(file, '');
  const { uid, gid } = statSync(file);
  const modes: [directory: number, file: number, owner: boolean, group: boolean, other: boolean][] = [
    [0o755, 0o400, true, false, false],
    [0o755, 0o440, true, true, false],
    [0o755, 0o044, false, true, true],
    [0o700, 0o444, true, false, false],
    [0o711, 0o444, true, true, true],
  ];
  for (const [outer, inner, owner, group, other] of modes) {
    chmodSync(file, inner);
    chmodSync(directory, outer);
    const found = [
      { uid, gid: 60_001, groups: [] },
      { uid: 60_001, gid: 60_001, groups: [gid] },
      { uid: 60_001, gid: 60_001, groups: [] },
    ].map((reader) => isReadableBy(reader, file));
    assert.deepEqual(found, [owner, group, other], inner.toString(8));
  }
  assert.equal(isReadableBy({ uid, gid, groups: [] }, `${file}x`), false);
  rmSync(directory, { recursive: true });
});
