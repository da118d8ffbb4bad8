import { SETTINGS } from '../config/settings.ts';
import { NetproxyError } from '../core/errors.ts';
import { flagsOf } from './arguments.ts';
import type { Flag } from './arguments.ts';
import { COMMAND_NAMES, COMMANDS, SHELLS } from './catalogue.ts';

/** The completion script for `shell`. */
export function completion(shell: string | undefined): string {
  switch (shell) {
    case 'bash':
      return bash();
    case 'zsh':
      return zsh();
    case 'fish':
      return fish();
    default:
      throw new NetproxyError('USAGE_INVALID', `the shell is missing; allowed: ${SHELLS.join(', ')}`, {
        hint: 'Run "netproxy completion bash".',
      });
  }
}

/** What may follow a flag: words to choose from, a file, or nothing that a shell could know. */
function valueOf({ id, parameter }: Flag): { words: readonly string[]; file: boolean; free: boolean } {
  const kind = id === undefined ? parameter : SETTINGS.get(id)?.kind;
  const file = kind?.placeholder === 'FILE';
  return { words: kind?.words ?? [], file, free: kind !== undefined && kind.words === undefined && !file };
}

const isBare = ({ id, parameter }: Flag): boolean => id === undefined && parameter === undefined;

/** One name may be a flag with a value in one command and without in another: the former counts. */
function every(): readonly Flag[] {
  const flags = COMMAND_NAMES.flatMap(flagsOf);
  const ordered = [...flags.filter(isBare), ...flags.filter((flag) => !isBare(flag))];
  return [...new Map(ordered.map((flag) => [flag.long, flag])).values()];
}

/** Where it has none, as `COMMAND --FLAG`. */
function bareHere(): readonly string[] {
  const valued = new Set(every().flatMap((flag) => (isBare(flag) ? [] : flag.long)));
  return COMMAND_NAMES.flatMap((name) =>
    flagsOf(name).flatMap((flag) => (isBare(flag) && valued.has(flag.long) ? `${name} --${flag.long}` : [])),
  );
}

const spellings = ({ long, short }: Flag): string[] => [
  `--${long}`,
  ...(short === undefined ? [] : [`-${short}`]),
];

function bash(): string {
  const words = every().filter((flag) => valueOf(flag).words.length > 0);
  const files = every().filter((flag) => valueOf(flag).file);
  const free = every().filter((flag) => valueOf(flag).free);
  const choose = (list: string): string => `COMPREPLY=($(compgen -W "${list}" -- "$current"))`;
  return `# bash completion for netproxy
_netproxy() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  case "\${COMP_WORDS[1]} $previous" in
    ${bareHere()
      .map((words) => `"${words}"`)
      .join('|')}) previous= ;;
  esac
  case "$previous" in
${words.map((flag) => `    ${spellings(flag).join('|')}) ${choose(valueOf(flag).words.join(' '))}; return ;;`).join('\n')}
    ${files.flatMap(spellings).join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${free.flatMap(spellings).join('|')}) return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    ${choose([...COMMAND_NAMES, ...flagsOf(undefined).flatMap(spellings)].join(' '))}
    return
  fi
  case "\${COMP_WORDS[1]}" in
${COMMAND_NAMES.map((name) => `    ${name}) ${choose([...(COMMANDS[name].words ?? []), ...flagsOf(name).flatMap(spellings)].join(' '))} ;;`).join('\n')}
  esac
}
complete -o filenames -F _netproxy netproxy
`;
}

/** Text within single quotes of zsh and fish, and within the brackets and colons of _arguments. */
function zshText(text: string): string {
  return text.replaceAll("'", String.raw`'\''`).replaceAll(/[[\]:]/g, String.raw`\$&`);
}

function zsh(): string {
  const argument = (flag: Flag): string => {
    const row = flag.id === undefined ? undefined : SETTINGS.get(flag.id);
    const { words, file } = valueOf(flag);
    const action = file ? '_files' : words.length > 0 ? `(${words.join(' ')})` : ' ';
    const placeholder = row?.kind.placeholder ?? flag.parameter?.placeholder;
    const value = placeholder === undefined ? '' : `:${zshText(placeholder)}:${action}`;
    const repeat = row?.list === true ? '*' : '';
    return spellings(flag)
      .map((name) => `        '${repeat}${name}[${zshText(flag.about)}]${value}'`)
      .join(' \\\n');
  };
  const command = (name: (typeof COMMAND_NAMES)[number]): string => {
    const operands = COMMANDS[name].words;
    const lines = flagsOf(name).map(argument);
    if (operands !== undefined) lines.push(`        '1:operand:(${operands.join(' ')})'`);
    return `    ${name})\n      _arguments \\\n${lines.join(' \\\n')}\n      ;;`;
  };
  return `#compdef netproxy
_netproxy() {
  local -a commands
  commands=(
${COMMAND_NAMES.map((name) => `    '${name}:${zshText(COMMANDS[name].summary)}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$name" in
${COMMAND_NAMES.map(command).join('\n')}
  esac
}
if [ "$funcstack[1]" = _netproxy ]; then _netproxy "$@"; else compdef _netproxy netproxy; fi
`;
}

function fish(): string {
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = ['# fish completion for netproxy', 'complete -c netproxy -f'];
  for (const name of COMMAND_NAMES) {
    lines.push(
      `complete -c netproxy -n __fish_use_subcommand -a ${name} -d ${quoted(COMMANDS[name].summary)}`,
    );
    const condition = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    const operands = COMMANDS[name].words;
    if (operands !== undefined)
      lines.push(`complete -c netproxy ${condition} -a ${quoted(operands.join(' '))}`);
    for (const flag of flagsOf(name)) {
      const { words, file, free } = valueOf(flag);
      const short = flag.short === undefined ? '' : ` -s ${flag.short}`;
      const value = file
        ? ' -r -F'
        : words.length > 0
          ? ` -x -a ${quoted(words.join(' '))}`
          : free
            ? ' -x'
            : '';
      lines.push(
        `complete -c netproxy ${condition} -l ${flag.long}${short}${value} -d ${quoted(flag.about)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
