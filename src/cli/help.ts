import { GROUPS, SETTINGS } from '../config/settings.ts';
import type { Setting } from '../config/settings.ts';
import { EXIT_FAILURE, EXIT_USAGE } from '../core/errors.ts';
import { COMMAND_NAMES, COMMANDS } from './catalogue.ts';
import type { CommandName } from './catalogue.ts';
import type { Paint } from './style.ts';

/** Widest line of the help, in columns. */
const WIDTH = 100;
/** Column at which what a flag does begins. */
const INDENT = 8;

/** The help of the whole program. */
export function programHelp(paint: Paint): string {
  const width = Math.max(...COMMAND_NAMES.map((name) => name.length)) + 2;
  return [
    'netproxy: forwards the traffic of a network namespace over plain SSH.',
    '',
    paint('bold', 'Usage'),
    '  netproxy COMMAND [FLAGS]',
    '',
    paint('bold', 'Commands'),
    ...COMMAND_NAMES.map((name) => `  ${name.padEnd(width)}${COMMANDS[name].summary}`),
    '',
    paint('bold', 'Flags'),
    '  -h, --help     explain the program, or the command it is given to',
    '  -V, --version  print the version',
    '',
    paint('bold', 'Examples'),
    ...(['run', 'check'] as const).map((name) => `  ${COMMANDS[name].examples[0]}`),
    '',
    paint('bold', 'Exit codes'),
    ...exitLines([]),
    '',
    'Run "netproxy help COMMAND" for its flags.',
    '',
  ].join('\n');
}

/** The help of one command. */
export function commandHelp(command: CommandName, paint: Paint): string {
  const info = COMMANDS[command];
  const flags = info.settings.length > 0 || info.json ? ' [FLAGS]' : '';
  const operands = info.operands === '' ? '' : ` ${info.operands}`;
  const lines = [
    `netproxy ${command}: ${info.summary}.`,
    '',
    paint('bold', 'Usage'),
    `  netproxy ${command}${operands}${flags}`,
    '',
    ...wrap(info.about, 0),
    '',
  ];
  for (const group of GROUPS) {
    const rows = info.settings.flatMap((id) => SETTINGS.get(id) ?? []).filter((row) => row.group === group);
    if (rows.length > 0)
      lines.push(paint('bold', group), ...rows.flatMap((row) => flagLines(row, paint)), '');
  }
  lines.push(paint('bold', info.settings.length > 0 ? 'Other flags' : 'Flags'));
  for (const { long, placeholder, about } of info.parameters ?? [])
    lines.push(...flag(`--${long} ${placeholder}`, about, paint));
  for (const [long, about] of info.switches ?? []) lines.push(...flag(`--${long}`, about, paint));
  if (info.json) lines.push(...flag('--json', 'Print JSON, errors too.', paint));
  lines.push(...flag('-h, --help', 'Print this.', paint), '');
  if (info.settings.includes('config')) {
    lines.push(
      ...wrap('Flags win over environment variables, those over the file, and that over the defaults.', 0),
      '',
    );
  }
  lines.push(paint('bold', 'Examples'), ...info.examples.map((example) => `  ${example}`), '');
  lines.push(paint('bold', 'Exit codes'), ...exitLines(info.exits), '');
  return lines.join('\n');
}

function flagLines(row: Setting, paint: Paint): string[] {
  const short = row.short === undefined ? '' : `-${row.short}, `;
  const text = `${row.description} ${settingNotes(row)}`;
  return flag(`${short}--${row.flag} ${row.kind.placeholder}`, text, paint);
}

/** What is said of a setting beside its description. */
export function settingNotes(row: Setting): string {
  const notes = [
    row.list === true ? 'May be repeated.' : '',
    row.required === true ? 'Required.' : '',
    `Allowed: ${row.kind.allowed}.`,
    row.default === undefined ? '' : `Default: ${row.default}.`,
    row.env === undefined ? '' : `Environment: ${row.env}${row.list === true ? ' (commas between)' : ''}.`,
  ];
  return notes.filter((note) => note !== '').join(' ');
}

function flag(names: string, text: string, paint: Paint): string[] {
  return [`  ${paint('bold', names)}`, ...wrap(text, INDENT)];
}

type ExitCodes = readonly (readonly [code: number, meaning: string])[];

function exitLines(own: ExitCodes): string[] {
  return exitCodes(own).map(([code, meaning]) => `  ${String(code).padEnd(5)}${meaning}`);
}

/** The exit codes of every command, with those of one. */
export function exitCodes(own: ExitCodes): ExitCodes {
  const all = new Map<number, string>([
    [0, 'done'],
    [EXIT_FAILURE, 'it failed for a reason outside the configuration'],
    [EXIT_USAGE, 'bad flags, environment or configuration; nothing was started or changed'],
    ...own,
  ]);
  return [...all].sort(([a], [b]) => a - b);
}

function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(' '.repeat(indent) + line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, ' '.repeat(indent) + line];
}
