/** docker/ci and the recipes of docs/ci.md, as a job runs them: with secrets, to the end, and nothing left behind. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { bash, runAction, runJob } from './ci-runner.ts';
import type { RunnerOptions } from './ci-runner.ts';
import { main } from './exec-lab.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const directory = mkdtempSync(join(os.tmpdir(), 'netproxy-ci-'));
/** What a job has of the machine: `netproxy` in PATH, and a folder for what it writes. */
const bin = join(directory, 'bin');
let world: World;
let temp: string;
let runner: RunnerOptions;
let secrets: { bastion: string; key: string; hosts: string };
before(async () => {
  world = await World.create();
  mkdirSync(bin);
  writeFileSync(join(bin, 'netproxy'), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
  chmodSync(join(bin, 'netproxy'), 0o755);
  const { user, address, port, clientKeyFile, knownHostsFile } = world.sshd;
  secrets = {
    bastion: `ssh://${user}@${address}:${port}`,
    key: readFileSync(clientKeyFile, 'utf8'),
    hosts: readFileSync(knownHostsFile, 'utf8'),
  };
});
beforeEach(() => {
  temp = mkdtempSync(join(directory, 'temp-'));
  runner = { namespace: world.lab.app, temp, env: { PATH: bin } };
});
after(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

const inputs = (): Record<string, string> => ({
  ...{ bastion: secrets.bastion, key: secrets.key, 'known-hosts': secrets.hosts },
});
/** Something that only the bastion reaches. */
const REACH = `python3 -c 'import socket; socket.create_connection(("${LAB.target.v4}", ${PORTS.echo}), 20); print("reached")'`;
const folders = (): string[] => readdirSync(temp).filter((name) => name.startsWith('netproxy-'));

test('the action runs a script, gives its exit code, and removes the key', async () => {
  const script = `${REACH}\nstat -c %a "$NETPROXY_IDENTITY_FILE"\nfalse | true\n`;
  const told = await runAction('action.yml', { ...inputs(), run: script }, runner);
  assert.equal(told.code, 1, told.log);
  assert.match(told.log, /reached\n600\n/);
  assert.doesNotMatch(told.log, /PRIVATE KEY/);
  assert.deepEqual(folders(), []);
  const good = await runAction('action.yml', { ...inputs(), run: REACH }, runner);
  assert.equal(good.code, 0, good.log);
});

test('the action keeps to its allow-list, and writes the report', async () => {
  writeFileSync(join(temp, 'none.yaml'), '[]\n');
  const told = await runAction(
    'action.yml',
    {
      ...inputs(),
      run: `${REACH} || true`,
      allow: join(temp, 'none.yaml'),
      report: join(temp, 'report.json'),
    },
    runner,
  );
  assert.equal(told.code, 77, told.log);
  assert.match(told.log, /EGRESS_REFUSED/);
  assert.match(readFileSync(join(temp, 'report.json'), 'utf8'), /"refused": 1/);
});

test('with another host key than the pinned one nothing is connected', async () => {
  const other = secrets.hosts.replace(
    /ssh-ed25519 \S+/,
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlnbm9yZSB0aGlzIGtleSwgaXQgaXMgbm9ib2R5J3M=',
  );
  for (const hosts of [other, '']) {
    const told = await runAction(
      'action.yml',
      { ...inputs(), 'known-hosts': hosts, run: 'echo ran' },
      runner,
    );
    assert.notEqual(told.code, 0);
    assert.doesNotMatch(told.log, /^ran$/m);
  }
  assert.deepEqual(folders(), []);
});

test('without a script the action leaves netproxy running, and "stop" puts everything back', async () => {
  const before_ = await world.lab.app.routes();
  const begun = await runAction('action.yml', inputs(), runner);
  assert.equal(begun.code, 0, begun.log);
  const step = await bash(world.lab.app, ['-ec', REACH], runner.env);
  assert.equal(step.stdout, 'reached\n', step.stderr);
  const ended = await runAction('stop/action.yml', { folder: begun.outputs['folder'] ?? '' }, runner);
  assert.equal(ended.code, 0, ended.log);
  assert.deepEqual(folders(), []);
  assert.equal(await world.lab.app.routes(), before_);
});

/** As GitLab has variables of the type "File": readable for everybody, with the ends of lines of a browser. */
function gitlab(): RunnerOptions {
  writeFileSync(join(temp, 'KEY'), secrets.key.replaceAll('\n', '\r\n'), { mode: 0o666 });
  writeFileSync(join(temp, 'HOSTS'), secrets.hosts);
  return {
    ...runner,
    env: {
      ...{ ...runner.env, CI_PROJECT_DIR: join(temp, 'project') },
      ...{ NETPROXY_BASTION: secrets.bastion },
      ...{ BASTION_KEY: join(temp, 'KEY'), BASTION_KNOWN_HOSTS: join(temp, 'HOSTS') },
    },
  };
}

test('a GitLab job runs a command through the bastion, and leaves no key', async () => {
  const { main: job, after: end } = await runJob('.netproxy', [`netproxy exec -- ${REACH}`], gitlab());
  assert.deepEqual([job.code, job.stdout], [0, 'reached\n'], job.stderr);
  assert.equal(end.code, 0, end.stderr);
  assert.ok(!readdirSync(temp).includes('project.netproxy'));
  const failed = await runJob('.netproxy', ['netproxy exec -- sh -c "exit 9"'], gitlab());
  assert.equal(failed.main.code, 9);
});

test('a GitLab job as a whole goes through the bastion, and is put back', async () => {
  const before_ = await world.lab.app.routes();
  const { main: job, after: end } = await runJob('.netproxy-job', [REACH, 'exit 3'], gitlab());
  assert.deepEqual([job.code, job.stdout], [3, 'netproxy is ready\nreached\n'], job.stderr);
  assert.equal(end.code, 0, end.stderr);
  assert.ok(!readdirSync(temp).includes('project.netproxy'));
  assert.equal(await world.lab.app.routes(), before_);
});

test('the recipes for any other shell work as they stand in docs/ci.md', async () => {
  const page =
    readFileSync(new URL('../../docs/ci.md', import.meta.url), 'utf8').split('## Any other shell')[1] ?? '';
  const recipes = [...page.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, text = '']) => text);
  assert.equal(recipes.length, 2);
  const before_ = await world.lab.app.routes();
  const env = {
    ...{ ...runner.env, JOB: REACH, TMPDIR: temp },
    ...{ NETPROXY_BASTION: secrets.bastion, BASTION_KEY: secrets.key, BASTION_KNOWN_HOSTS: secrets.hosts },
  };
  const [command = '', whole = ''] = recipes;
  const first = await bash(world.lab.app, ['-ec', command], env);
  assert.deepEqual([first.code, first.stdout], [0, 'reached\n'], first.stderr);
  assert.deepEqual(readdirSync(temp), []);
  const { clientKeyFile, knownHostsFile } = world.sshd;
  const files = { NETPROXY_IDENTITY_FILE: clientKeyFile, NETPROXY_KNOWN_HOSTS_FILE: knownHostsFile };
  const second = await bash(world.lab.app, ['-ec', `cd "$TMPDIR"\n${whole}`], { ...env, ...files });
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stdout, /reached\n/);
  assert.equal(await world.lab.app.routes(), before_);
});
