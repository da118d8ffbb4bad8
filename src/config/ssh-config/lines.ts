import type { Line } from 'ssh-config';

/** One keyword with its arguments. `Host` and `Match` are such too: what follows belongs to them. */
export interface Directive {
  /** In lower case. */
  readonly keyword: string;
  /** As written, for places in messages. */
  readonly name: string;
  /** Without quotes. Keywords that take one argument have it whole, with its blanks. */
  readonly args: readonly string[];
  /** `file:line:column Keyword`. */
  readonly where: string;
}

/** What is wrong with a file, at `line`. */
export class BadSshConfig extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'BadSshConfig';
    this.line = line;
  }
}

/** The parser's whole surface that is used: loaded only when it is wanted. */
export type ParseSshConfig = (text: string) => Iterable<Line>;

/**
 * The directives of a file in their order. The library splits lines into words and quotes; which of them hold is
 * decided in resolve.ts (docs/decisions tells why). Throws BadSshConfig.
 */
export function readLines(text: string, file: string, parse: ParseSshConfig): Directive[] {
  const directives: Directive[] = [];
  const matches = new Set(
    text.split('\n').flatMap((each, index) => (each.search(MATCH) === -1 ? [] : index + 1)),
  );
  let line = 1;
  let column = 1;
  const pass = (blank: string): void => {
    const breaks = blank.split('\n').length - 1;
    line += breaks;
    column = breaks === 0 ? column + blank.length : blank.length - blank.lastIndexOf('\n');
  };
  const walk = (nodes: Iterable<Line>): void => {
    for (const node of nodes) {
      pass(node.before);
      if ('param' in node) {
        // The library takes the next line for a part of a keyword that has no value, or for its value.
        const [param = ''] = node.param.split(/[\r\n]/);
        const name = matches.has(line) ? 'Match' : param;
        if (param !== node.param || /[\r\n]/.test(node.separator))
          throw new BadSshConfig(line, `${name} has no value`);
        const args = argumentsOf(node.value);
        if (args.length === 0) throw new BadSshConfig(line, `${name} has no value`);
        if (name === 'Match') checkCriteria(args, line);
        directives.push({
          keyword: name.toLowerCase(),
          name,
          args,
          where: `${file}:${line}:${column} ${name}`,
        });
      }
      pass(node.after);
      if ('config' in node) walk(node.config);
    }
  };
  walk(parsed(text.replaceAll(MATCH, '$1Host'), parse));
  return directives;
}

/** Criteria of Match that have no value. */
export const PLAIN_CRITERIA: ReadonlySet<string> = new Set(['all', 'final', 'canonical']);
/** The library refuses "!final"; it takes Match for Host, whose words it does not judge. */
const MATCH = /^([ \t]*)match(?=[ \t="])/gim;

function checkCriteria(args: readonly string[], line: number): void {
  for (let at = 0; at < args.length; at++) {
    const plain = PLAIN_CRITERIA.has(args[at]!.toLowerCase().replace(/^!/, ''));
    if (!plain && ++at === args.length) throw new BadSshConfig(line, 'Match has a criterion without a value');
  }
}

function argumentsOf(value: string | readonly { readonly val: string }[]): string[] {
  return (typeof value === 'string' ? [value] : value.map(({ val }) => val)).filter((arg) => arg !== '');
}

function parsed(text: string, parse: ParseSshConfig): Iterable<Line> {
  try {
    return parse(text);
  } catch (error) {
    // The library gives no line: the first one with which the text cannot be parsed any more is it.
    const lines = text.split('\n');
    const bad = lines.findIndex((_, index) => !parses(lines.slice(0, index + 1).join('\n'), parse));
    const quote = (error as Error).message.startsWith('Unexpected line break');
    throw new BadSshConfig(Math.max(bad, 0) + 1, quote ? 'a quote is not closed' : 'cannot be understood');
  }
}

function parses(text: string, parse: ParseSshConfig): boolean {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}
