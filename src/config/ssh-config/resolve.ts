import { PLAIN_CRITERIA } from './lines.ts';
import type { Directive } from './lines.ts';
import { matchesList } from './patterns.ts';

/** One file, and those that it includes. */
export interface SshConfigSource {
  /** The directives of the file that is read first. */
  readonly directives: readonly Directive[];
  /** Those of each file that an Include names; what is wrong with it has been told. */
  include(directive: Directive): readonly (readonly Directive[])[];
}

export interface Target {
  /** As it was asked for. */
  readonly host: string;
  /** What was asked for beside the host, and wins over the files. */
  readonly user: string | undefined;
  readonly localUser: string;
}

/** What the files say of a host. */
export interface Resolved {
  /** By keyword in lower case; the first that holds. */
  readonly values: ReadonlyMap<string, Directive>;
  /** Keywords of which each that holds counts, in their order. */
  readonly lists: ReadonlyMap<string, readonly Directive[]>;
  /** Blocks that were passed over, since what they depend on is not looked at, with the criterion. */
  readonly skipped: readonly { readonly block: Directive; readonly criterion: string }[];
}

/** Keywords that add up. */
const LISTS: ReadonlySet<string> = new Set(['identityfile', 'certificatefile']);
/** The first of the two decides (ssh_config(5), ProxyJump). */
const RIVALS: Readonly<Record<string, string>> = { proxyjump: 'proxycommand', proxycommand: 'proxyjump' };
/** As many levels as ssh allows (READCONF_MAX_DEPTH). */
const INCLUDE_DEPTH_MAX = 16;

/** Evaluates Host, Match and Include as ssh does: for each keyword the first value counts. */
export function resolveHost(sources: readonly SshConfigSource[], target: Target): Resolved {
  const evaluation = new Evaluation(target);
  for (const source of sources) evaluation.run(source);
  if (evaluation.wantsFinal) {
    evaluation.final = true;
    for (const source of sources) evaluation.run(source);
  }
  return evaluation;
}

class Evaluation implements Resolved {
  readonly values = new Map<string, Directive>();
  readonly lists = new Map<string, Directive[]>();
  readonly skipped: { block: Directive; criterion: string }[] = [];
  wantsFinal = false;
  final = false;
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
  }

  run(source: SshConfigSource): void {
    this.#run(source.directives, source, 0, true);
  }

  /** `included`: by a block that holds. What is not is gone through for its "final" alone, as by ssh. */
  #run(directives: readonly Directive[], source: SshConfigSource, depth: number, included: boolean): void {
    let active = included;
    for (const directive of directives) {
      const { keyword, args } = directive;
      if (keyword === 'host') {
        active = included && matchesList(args, this.final ? this.#hostName() : this.#target.host);
      } else if (keyword === 'match') {
        active = this.#matches(directive, included);
      } else if (keyword === 'include') {
        if (depth === INCLUDE_DEPTH_MAX) continue;
        for (const file of source.include(directive)) this.#run(file, source, depth + 1, active);
      } else if (active) this.#set(directive);
    }
  }

  #set(directive: Directive): void {
    const { keyword, args } = directive;
    if (LISTS.has(keyword)) {
      const list = this.lists.get(keyword) ?? [];
      this.lists.set(keyword, list);
      if (!list.some((other) => other.args.join(' ') === args.join(' '))) list.push(directive);
      return;
    }
    // The name is settled when ssh goes through the files for the last time.
    if (this.final && keyword === 'hostname') return;
    const rival = RIVALS[keyword];
    if (this.values.has(keyword) || (rival !== undefined && this.values.has(rival))) return;
    this.values.set(keyword, directive);
  }

  #matches(block: Directive, included: boolean): boolean {
    const unknown: string[] = [];
    let all = included;
    for (let at = 0; at < block.args.length; at++) {
      const word = block.args[at]!.toLowerCase();
      const negated = word.startsWith('!');
      const criterion = negated ? word.slice(1) : word;
      const value = PLAIN_CRITERIA.has(criterion) ? '' : (block.args[++at] ?? '');
      const holds = this.#criterion(criterion, value);
      if (holds === undefined) unknown.push(criterion);
      else all &&= holds !== negated;
    }
    if (all && unknown.length > 0 && !this.skipped.some((other) => other.block === block))
      this.skipped.push({ block, criterion: unknown[0]! });
    return all && unknown.length === 0;
  }

  /** As far as it is known. */
  #hostName(): string {
    const { host } = this.#target;
    return this.values.get('hostname')?.args[0]?.replaceAll('%h', host) ?? host;
  }

  /** Undefined when it cannot be told. */
  #criterion(criterion: string, value: string): boolean | undefined {
    const { host, user, localUser } = this.#target;
    const patterns = value.split(',');
    switch (criterion) {
      case 'all':
        return true;
      case 'final':
        this.wantsFinal = true;
        return this.final;
      // Names are not canonicalized.
      case 'canonical':
        return false;
      case 'host':
        return matchesList(patterns, this.#hostName());
      case 'originalhost':
        return matchesList(patterns, host);
      case 'user':
        return matchesList(patterns, user ?? this.values.get('user')?.args[0] ?? localUser);
      case 'localuser':
        return matchesList(patterns, localUser);
      default:
        return undefined;
    }
  }
}
