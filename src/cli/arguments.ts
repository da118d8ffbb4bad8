import { parseArgs } from 'node:util';
import { SETTINGS } from '../config/settings.ts';
import type { SettingId } from '../config/settings.ts';
import { quote } from '../config/value.ts';
import type { Given } from '../config/value.ts';
import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import { COMMAND_NAMES, COMMANDS } from './catalogue.ts';
import type { CommandName, Parameter } from './catalogue.ts';

/** What the command line says, and everything wrong with it. */
export interface Arguments {
  /** Undefined when none, or no known one, was named. */
  readonly command: CommandName | undefined;
  readonly operands: readonly string[];
  readonly flags: ReadonlyMap<SettingId, readonly Given[]>;
  readonly help: boolean;
  readonly version: boolean;
  readonly json: boolean;
  /** Flags that are no settings, with their values. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Every flag without a value that was given. */
  readonly switches: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

/** A flag as the parser knows it. */
export interface Flag {
  readonly long: string;
  readonly short?: string;
  readonly about: string;
  /** Absent for flags that are no setting. */
  readonly id?: SettingId;
  /** Of a flag that is no setting and takes a value. */
  readonly parameter?: Parameter;
}

const HELP: Flag = { long: 'help', short: 'h', about: 'Explain the program, or the command.' };
const VERSION: Flag = { long: 'version', short: 'V', about: 'Print the version.' };
const JSON_OUTPUT: Flag = { long: 'json', about: 'Print JSON, errors too.' };

/** The flags that `command` takes; without a command, those of the program. */
export function flagsOf(command: CommandName | undefined): readonly Flag[] {
  if (command === undefined) return [HELP, VERSION];
  const info = COMMANDS[command];
  const settings = info.settings.map((id): Flag => {
    const { flag = id, short, description: about = '' } = SETTINGS.get(id) ?? {};
    return { long: flag, id, about, ...(short === undefined ? {} : { short }) };
  });
  const switches = (info.switches ?? []).map(([long, about]): Flag => ({ long, about }));
  const parameters = (info.parameters ?? []).map((parameter): Flag => ({
    long: parameter.long,
    about: parameter.about,
    parameter,
  }));
  return [...settings, ...parameters, ...switches, ...(info.json ? [JSON_OUTPUT] : []), HELP];
}

/** Every flag of every command: so that the value of a flag is never taken for the command. */
const EVERY_FLAG: readonly Flag[] = [
  ...new Map([VERSION, ...COMMAND_NAMES.flatMap(flagsOf)].map((flag) => [flag.long, flag])).values(),
];

/** The same, with those of the command in their place where that comes first: "watch" is a setting and a switch. */
function flagsFor(argv: readonly string[]): readonly Flag[] {
  const own = flagsOf(COMMAND_NAMES.find((name) => name === argv[0]));
  return [...own, ...EVERY_FLAG.filter(({ long }) => !own.some((flag) => flag.long === long))];
}

/** A flag that may stand alone, with the value that it has then. */
function withValue(flags: readonly Flag[], arg: string, next: string | undefined): string {
  if (!arg.startsWith('--') || (next !== undefined && !next.startsWith('-'))) return arg;
  const id = flags.find(({ long }) => `--${long}` === arg)?.id;
  const bare = id && SETTINGS.get(id)?.bare;
  return bare === undefined ? arg : `${arg}=${bare}`;
}

/** Reads the arguments after the program's name. Never throws; everything wrong is in `problems`. */
export function parseArguments(argv: readonly string[]): Arguments {
  // What stands behind "--" is somebody else's command line, or operands.
  const end = argv.indexOf('--');
  const [own, rest] = end === -1 ? [argv, undefined] : [argv.slice(0, end), argv.slice(end + 1)];
  const everyFlag = flagsFor(own);
  const { tokens } = parseArgs({
    args: own.map((arg, index) => withValue(everyFlag, arg, own[index + 1])),
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      everyFlag.map(({ long, short, id, parameter }) => [
        long,
        {
          type: id === undefined && parameter === undefined ? ('boolean' as const) : ('string' as const),
          ...(short === undefined ? {} : { short }),
        },
      ]),
    ),
  });
  const problems: Problem[] = [];
  const wrong = (where: string, message: string, hint?: string): void => {
    problems.push({ code: 'USAGE_INVALID', where, message, ...(hint === undefined ? {} : { hint }) });
  };
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const command = readCommand(words[0], wrong);
  const allowed = new Map(flagsOf(command).map((flag) => [flag.long, flag]));
  // With no known command there is no telling which flags are right: only those of none are wrong.
  if (command === undefined) for (const flag of everyFlag) allowed.set(flag.long, flag);

  const flags = new Map<SettingId, Given[]>();
  const parameters = new Map<string, string>();
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const flag = allowed.get(token.name);
    if (flag === undefined) {
      const known = everyFlag.some(({ long }) => long === token.name);
      const near = suggest(token.name, allowed.keys());
      wrong(
        token.rawName,
        known ? `not a flag of "${command}"` : 'no such flag',
        near === undefined
          ? `Run "netproxy help${command ? ` ${command}` : ''}" for its flags.`
          : `Did you mean --${near}?`,
      );
      continue;
    }
    const where = `--${flag.long}`;
    if (flag.parameter !== undefined) {
      if (token.value === undefined)
        wrong(where, 'the value is missing', `Write ${where} ${flag.parameter.placeholder}.`);
      else if (parameters.has(flag.long))
        wrong(where, 'given more than once; it takes one value', 'Keep one.');
      else parameters.set(flag.long, token.value);
      continue;
    }
    if (flag.id === undefined) {
      if (token.value !== undefined) wrong(where, 'takes no value');
      seen.add(flag.long);
      continue;
    }
    const row = SETTINGS.get(flag.id);
    // "--identity --known-hosts x": the parser would take the second flag for the value of the first.
    if (token.value === undefined || (!token.inlineValue && /^--?[a-z]/.test(token.value))) {
      // Known to the loader as given, lest it be reported as missing once more.
      flags.set(flag.id, flags.get(flag.id) ?? []);
      wrong(
        where,
        `the value is missing; allowed: ${row?.kind.allowed}`,
        `Write ${where} ${row?.kind.placeholder}.`,
      );
      continue;
    }
    if (seen.has(flag.long) && row?.list !== true)
      wrong(where, 'given more than once; it takes one value', 'Keep one.');
    seen.add(flag.long);
    flags.set(flag.id, [...(flags.get(flag.id) ?? []), { text: token.value, where }]);
  }
  const operands = [...words.slice(1), ...(rest ?? [])];
  if (command !== undefined && COMMANDS[command].rest === true)
    checkRest(command, words.slice(1), rest, wrong);
  else if (command !== undefined) checkOperands(command, operands, wrong);
  return {
    command,
    operands,
    flags,
    help: seen.has(HELP.long),
    version: seen.has(VERSION.long),
    json: seen.has(JSON_OUTPUT.long),
    parameters,
    switches: seen,
    problems,
  };
}

type Wrong = (where: string, message: string, hint?: string) => void;

function readCommand(word: string | undefined, wrong: Wrong): CommandName | undefined {
  if (word === undefined) return undefined;
  const command = COMMAND_NAMES.find((name) => name === word);
  if (command === undefined) {
    const near = suggest(word, COMMAND_NAMES);
    wrong(
      quote(word),
      `no such command; allowed: ${COMMAND_NAMES.join(', ')}`,
      near === undefined ? 'Run "netproxy help" for what each does.' : `Did you mean "netproxy ${near}"?`,
    );
  }
  return command;
}

function checkRest(
  command: CommandName,
  before: readonly string[],
  rest: readonly string[] | undefined,
  wrong: Wrong,
): void {
  if (rest !== undefined && rest.length > 0 && before.length === 0) return;
  const [word] = before;
  if (word !== undefined)
    wrong(quote(word), 'stands before "--"', `Write netproxy ${command} [FLAGS] -- ${word} …`);
  else wrong('COMMAND', 'the command to run is missing', `Run "${COMMANDS[command].examples[0]}".`);
}

function checkOperands(command: CommandName, operands: readonly string[], wrong: Wrong): void {
  const { words, many, free } = COMMANDS[command];
  if (many === true) {
    if (operands.length > 0) return;
    wrong(COMMANDS[command].operands, 'the operand is missing', `Run "${COMMANDS[command].examples[0]}".`);
    return;
  }
  for (const operand of operands.slice(words === undefined && free !== true ? 0 : 1)) {
    wrong(
      quote(operand),
      `"netproxy ${command}" takes ${words === undefined && free !== true ? 'no operand' : 'one operand'}`,
    );
  }
  const operand = operands[0];
  if (words === undefined || operand === undefined || words.includes(operand)) return;
  const near = suggest(operand, words);
  wrong(
    quote(operand),
    `allowed: ${words.join(', ')}`,
    near === undefined ? 'Name one of them.' : `Did you mean ${near}?`,
  );
}
