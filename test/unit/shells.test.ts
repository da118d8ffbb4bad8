/** Completion in real shells, and the manual page as mandoc takes it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { COMMAND_NAMES, SHELLS } from '../../src/cli/catalogue.ts';
import { completion } from '../../src/cli/completion.ts';
import { manualPage } from '../../src/cli/man.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { SORT_KEYS } from '../../src/control/connections.ts';

let folder = '';
const script = (shell: string): string => join(folder, `completion.${shell}`);
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'netproxy-shells-'));
  for (const shell of SHELLS) writeFileSync(script(shell), completion(shell));
  for (const file of ['key', 'known_hosts']) writeFileSync(join(folder, file), '');
});
after(() => rmSync(folder, { recursive: true }));

function output(command: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(command, args, {
    ...{ encoding: 'utf8', cwd: folder },
    env: { PATH: process.env['PATH'], HOME: folder },
  });
  assert.deepEqual([status, stderr], [0, ''], command);
  return stdout;
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** What bash would offer for the last of these words. */
function inBash(typed: string): string[] {
  const list = typed.split(' ');
  const words = list.map((word) => `"${word}"`).join(' ');
  const program = `source ${script('bash')}
COMP_WORDS=(${words}); COMP_CWORD=${list.length - 1}; _netproxy; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return lines(output('bash', '-c', program));
}

/** What fish would, without descriptions. */
function inFish(typed: string): string[] {
  const said = output(
    'fish',
    '--no-config',
    '-c',
    `source ${script('fish')}; complete -C ${JSON.stringify(typed)}`,
  );
  return lines(said).map((line) => line.split('\t')[0]!);
}

/** The line of zsh after a tab, or the list that it shows; zsh completes on terminals only. */
async function inZsh(typed: string, seen: RegExp): Promise<void> {
  const terminal = join(import.meta.dirname, '../lab/terminal.py');
  const child = spawn('python3', [terminal, '40', '120', 'zsh', '-f', '-i'], {
    ...{ cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] },
    env: { PATH: process.env['PATH'], HOME: folder, TERM: 'dumb' },
  });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  const until = async (what: RegExp): Promise<void> => {
    const deadline = AbortSignal.timeout(30_000);
    while (!what.test(shown)) {
      if (deadline.aborted) assert.fail(`waiting for ${what.source} in:\n${shown}`);
      await once(child.stdout, 'data', { signal: deadline }).catch(() => {});
    }
  };
  const send = (text: string): void => void child.stdin.write(`${JSON.stringify({ send: text })}\n`);
  try {
    send(
      `PS1='> '; autoload -U compinit; compinit -u -D; source ${script('zsh')}; setopt no_beep; print rea''dy\n`,
    );
    await until(/ready\r?\n[^]*> /);
    shown = '';
    send(`${typed}\t`);
    await until(seen);
  } finally {
    child.stdin.end();
    await once(child, 'exit');
  }
}

describe('completion', () => {
  test('in bash', () => {
    assert.deepEqual(inBash('netproxy st'), ['status']);
    assert.deepEqual(inBash('netproxy run --tun-m'), ['--tun-mtu']);
    assert.deepEqual(inBash('netproxy run --on-exit '), ['closed', 'open']);
    assert.deepEqual(inBash('netproxy run --identity k'), ['key', 'known_hosts']);
    assert.deepEqual(inBash('netproxy completion z'), ['zsh']);
    assert.deepEqual(inBash('netproxy plan --ident'), []);
    assert.deepEqual(inBash('netproxy connections --sort '), Object.keys(SORT_KEYS));
    assert.deepEqual(inBash('netproxy debug b'), ['bundle']);
    assert.deepEqual(inBash('netproxy logs --f'), ['--follow']);
  });

  test('in fish', () => {
    assert.deepEqual(inFish('netproxy st'), ['status']);
    assert.deepEqual(inFish('netproxy run --tun-m'), ['--tun-mtu']);
    assert.deepEqual(inFish('netproxy run --on-exit '), ['closed', 'open']);
    assert.deepEqual(inFish('netproxy run --identity k'), ['key', 'known_hosts']);
    assert.deepEqual(inFish('netproxy completion z'), ['zsh']);
    assert.deepEqual(inFish('netproxy plan --ident'), []);
    assert.deepEqual(inFish('netproxy connections --sort ').toSorted(), Object.keys(SORT_KEYS).toSorted());
    assert.deepEqual(inFish('netproxy debug b'), ['bundle']);
    assert.deepEqual(inFish('netproxy logs --f'), ['--follow']);
  });

  for (const [typed, seen] of [
    ['netproxy stat', /netproxy status /],
    ['netproxy run --tun-m', /netproxy run --tun-mtu /],
    ['netproxy run --on-exit cl', /--on-exit closed /],
    ['netproxy run --identity kn', /--identity known_hosts /],
    ['netproxy connections --sort by', /--sort bytes /],
    ['netproxy debug b', /debug bundle /],
    ['netproxy logs --fo', /logs --follow /],
  ] as const) {
    test(`in zsh: ${typed}`, () => inZsh(typed, seen));
  }
});

describe('the manual page', () => {
  test('has no fault that mandoc would warn of', () => {
    writeFileSync(join(folder, 'netproxy.1'), manualPage('1.2.3', new Date(0)));
    const { status, stdout, stderr } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', 'netproxy.1'], {
      ...{ encoding: 'utf8', cwd: folder },
    });
    assert.deepEqual([status, stdout, stderr], [0, '', '']);
  });

  test('has every command and every setting', () => {
    // oxlint-disable-next-line no-control-regex -- bold is a letter, a backspace and the letter again
    const page = output('mandoc', '-T', 'ascii', 'netproxy.1').replaceAll(/.\u0008/g, '');
    for (const name of COMMAND_NAMES) assert.match(page, new RegExp(`^ +netproxy ${name}`, 'm'));
    for (const { flag, key } of SETTINGS.values()) {
      const name = flag === undefined ? key! : `--${flag}`;
      assert.match(page, new RegExp(`^ +(-\\w, )?${name.replaceAll(/[[\].]/g, String.raw`\$&`)}( |$)`, 'm'));
    }
  });
});
