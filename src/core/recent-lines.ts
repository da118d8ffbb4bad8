/** The last lines of the log, kept for whoever asks for them afterwards. */
import { RECENT_CHARACTERS, RECENT_LINES } from './limits.ts';

/** Bounded by lines and characters; the oldest give way. */
export class RecentLines {
  #lines: string[] = [];
  /** Of `#lines`, those before it have given way: shifting an array of thousands is not for every line. */
  #first = 0;
  #characters = 0;
  readonly #followers = new Set<(line: string) => void>();

  /** `line` is one JSON object, without or with the newline. */
  add(line: string): void {
    const text = line.trimEnd();
    this.#lines.push(text);
    this.#characters += text.length;
    while (this.#lines.length - this.#first > RECENT_LINES || this.#characters > RECENT_CHARACTERS) {
      this.#characters -= this.#lines[this.#first]?.length ?? 0;
      this.#lines[this.#first++] = '';
    }
    if (this.#first > RECENT_LINES) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
    for (const follow of this.#followers) follow(text);
  }

  /** The oldest first. */
  get lines(): readonly string[] {
    return this.#lines.slice(this.#first);
  }

  /** Calls `follow` for every further line, until the function that it returns is called. */
  follow(follow: (line: string) => void): () => void {
    this.#followers.add(follow);
    return () => this.#followers.delete(follow);
  }
}
