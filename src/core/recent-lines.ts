/** The last lines of the log, kept for whoever asks for them afterwards. */
import { RECENT_CHARACTERS, RECENT_LINES, RECENT_UNWRITTEN_CHARACTERS } from './limits.ts';

/** A line that is written only when somebody wants to read it: most never are, and writing costs most. */
type Unwritten = () => string;

/** Bounded by lines and characters; the oldest give way. */
export class RecentLines {
  #lines: (string | Unwritten)[] = [];
  /** Of `#lines`, those before it have given way: shifting an array of thousands is not for every line. */
  #first = 0;
  #characters = 0;
  readonly #followers = new Set<(line: string) => void>();

  /** `line` is one JSON object, without or with the newline; or what writes it, in the same words whenever asked. */
  add(line: string | Unwritten): void {
    const kept = typeof line === 'string' ? line.trimEnd() : line;
    this.#lines.push(kept);
    this.#characters += charactersOf(kept);
    while (this.#lines.length - this.#first > RECENT_LINES || this.#characters > RECENT_CHARACTERS) {
      this.#characters -= charactersOf(this.#lines[this.#first]!);
      this.#lines[this.#first++] = '';
    }
    if (this.#first > RECENT_LINES) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
    for (const follow of this.#followers) follow(written(kept));
  }

  /** The oldest first. */
  get lines(): readonly string[] {
    return this.#lines.slice(this.#first).map(written);
  }

  /** Calls `follow` for every further line, until the function that it returns is called. */
  follow(follow: (line: string) => void): () => void {
    this.#followers.add(follow);
    return () => this.#followers.delete(follow);
  }
}

const written = (line: string | Unwritten): string => (typeof line === 'string' ? line : line());

const charactersOf = (line: string | Unwritten): number =>
  typeof line === 'string' ? line.length : RECENT_UNWRITTEN_CHARACTERS;
