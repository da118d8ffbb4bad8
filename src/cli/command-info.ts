/** What the help, completion and the parser know of a command. */
import type { SettingId } from '../config/settings.ts';

/** A flag that takes a value and is no setting. */
export interface Parameter {
  readonly long: string;
  readonly placeholder: string;
  /** The words that a shell may offer, when there are few. */
  readonly words?: readonly string[];
  readonly about: string;
}

export interface CommandInfo {
  /** One line for the list of commands. */
  readonly summary: string;
  /** What stands after the name in the usage line. */
  readonly operands: string;
  /** The words an operand may be; absent when the command takes none. */
  readonly words?: readonly string[];
  /** It takes any number of operands, at least one. */
  readonly many?: true;
  /** It takes at most one operand, which may be any text. */
  readonly free?: true;
  /** It takes a command line behind "--", which is not read. */
  readonly rest?: true;
  /** Settings that it takes as flags, in order. */
  readonly settings: readonly SettingId[];
  /** Flags that are no settings and take no value, beside those of every command, and what each does. */
  readonly switches?: readonly (readonly [long: string, about: string])[];
  /** Flags that are no settings and take a value. */
  readonly parameters?: readonly Parameter[];
  /** It has output that scripts read, hence `--json`. */
  readonly json: boolean;
  /** What it does, in whole sentences. */
  readonly about: string;
  readonly examples: readonly string[];
  /** Exit codes, beside those of every command. */
  readonly exits: readonly (readonly [code: number, meaning: string])[];
}
