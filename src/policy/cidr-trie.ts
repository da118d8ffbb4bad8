import type { Words } from './address-words.ts';
import type { Facts } from './match.ts';
import { better } from './part.ts';
import type { Part } from './part.ts';

/** A binary trie of networks of one family, with the rules that ask for each. */
export class CidrTrie {
  /** Of node n: its children at 2n and 2n + 1, 0 for none. Node 0 is unused, 1 the root. */
  #children = new Int32Array(1024);
  readonly #parts: (Part | undefined)[] = [undefined, undefined];

  /** One part for each network. The host bits of `words` are not looked at. */
  set(words: Words, prefix: number, part: Part): void {
    let node = 1;
    for (let depth = 0; depth < prefix; depth++) {
      const at = 2 * node + bitOf(words, depth);
      if (this.#children[at] === 0) {
        // In two steps: the first may exchange the array.
        const child = this.#add();
        this.#children[at] = child;
      }
      node = this.#children[at]!;
    }
    this.#parts[node] = part;
  }

  /** Looks in the parts of every network that holds the flow's destination, the widest first. */
  find(facts: Facts, before: number): number {
    const { words } = facts;
    const children = this.#children;
    const parts = this.#parts;
    const bits = words.length * 32;
    let best = before;
    for (let node = 1, depth = 0; node !== 0; depth++) {
      best = better(parts[node], facts, best);
      if (depth === bits) break;
      node = children[2 * node + bitOf(words, depth)]!;
    }
    return best;
  }

  #add(): number {
    const node = this.#parts.push(undefined) - 1;
    if (2 * node + 2 > this.#children.length) {
      const larger = new Int32Array(this.#children.length * 2);
      larger.set(this.#children);
      this.#children = larger;
    }
    return node;
  }
}

function bitOf(words: Words, depth: number): number {
  return (words[depth >>> 5]! >>> (31 - (depth & 31))) & 1;
}
