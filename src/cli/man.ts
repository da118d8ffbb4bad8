/** The manual page netproxy(1), from the same tables as the help, with the macros of man(7). */
import { GROUPS, RUN_FLAGS, SETTINGS } from '../config/settings.ts';
import type { Setting } from '../config/settings.ts';
import { COMMAND_NAMES, COMMANDS } from './catalogue.ts';
import type { CommandName } from './catalogue.ts';
import { exitCodes, settingNotes } from './help.ts';

/** The page, as of `date`. */
export function manualPage(version: string, date: Date): string {
  const [day = ''] = date.toISOString().split('T');
  const lines = [
    '.\\" Written by "netproxy man".',
    `.TH NETPROXY 1 "${day}" "netproxy ${text(version)}" "User Commands"`,
    '.SH NAME',
    'netproxy \\- forward the traffic of a network namespace over plain SSH',
    '.SH SYNOPSIS',
    '.B netproxy',
    '.I COMMAND',
    '.RI [ FLAGS ]',
    '.SH DESCRIPTION',
    paragraph(
      'netproxy runs beside an application, in the same network namespace, and carries its TCP connections through a ' +
        'plain SSH server, a bastion. When it does not run, connections fail; nothing leaves in clear.',
    ),
    '.PP',
    paragraph(
      'Every flag of a setting is also a key of a YAML file and a variable of the environment. Flags win over the ' +
        'environment, that over the file, and that over the defaults.',
    ),
    '.SH COMMANDS',
    ...COMMAND_NAMES.flatMap(commandLines),
    '.SH SETTINGS',
    ...GROUPS.flatMap(groupLines),
    '.SH EXIT STATUS',
    ...exitCodes([]).flatMap(([code, meaning]) => ['.TP', `.B ${code}`, paragraph(meaning)]),
    '.SH SEE ALSO',
    '.BR ssh (1),',
    '.BR sshd_config (5),',
    '.BR network_namespaces (7)',
  ];
  return `${lines.join('\n')}\n`;
}

function commandLines(name: CommandName): string[] {
  const { operands, about, settings, switches = [], parameters = [], json, examples, exits } = COMMANDS[name];
  const usage = [`.B netproxy ${name}`, ...(operands === '' ? [] : [`.I ${text(operands)}`])];
  const lines = [`.SS ${name}`, ...usage, '.PP', paragraph(about)];
  for (const { long, placeholder, about: words } of parameters)
    lines.push('.TP', `.BI \\-\\-${text(long)} " ${text(placeholder)}"`, paragraph(words));
  for (const [long, words] of switches) lines.push('.TP', `.B \\-\\-${text(long)}`, paragraph(words));
  if (json) lines.push('.TP', '.B \\-\\-json', 'Print JSON, errors too.');
  if (settings.length > 0) {
    const flags = settings.flatMap((id) => SETTINGS.get(id)?.flag ?? []).map((flag) => `--${flag}`);
    lines.push(
      '.PP',
      paragraph(flags.length === RUN_FLAGS.length ? 'Settings: all.' : `Settings: ${flags.join(', ')}.`),
    );
  }
  for (const [code, meaning] of exits) lines.push('.PP', paragraph(`Exit code ${code}: ${meaning}.`));
  lines.push('.PP', '.EX', ...examples.map(text), '.EE');
  return lines;
}

function groupLines(group: (typeof GROUPS)[number]): string[] {
  const rows = [...SETTINGS.values()].filter((row) => row.group === group);
  return rows.length === 0 ? [] : [`.SS ${text(group)}`, ...rows.flatMap(settingLines)];
}

function settingLines(row: Setting): string[] {
  const { flag, short, key, kind, description } = row;
  const spelt = short === undefined ? `--${flag}` : `-${short}, --${flag}`;
  const head =
    flag === undefined ? `.B ${text(key ?? '')}` : `.BI "${text(spelt)}" " ${text(kind.placeholder)}"`;
  const inFile = flag === undefined || key === undefined ? '' : ` In the file: ${key}.`;
  return ['.TP', head, paragraph(`${description} ${settingNotes(row)}${inFile}`)];
}

/** Text as roff takes it: a hyphen that is typed is a minus, and a backslash begins an escape. */
function text(words: string): string {
  return words.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('"', '\\(dq');
}

/** Columns of a line of the source. */
const WIDTH = 78;

/** Lines of text. One that begins with a control character would be a request. */
function paragraph(words: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text(words).split(' ')) {
    if (line !== '' && line.length + word.length >= WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((each) => each.replace(/^(?=[.'])/, '\\&')).join('\n');
}
