import type { Facts } from './match.ts';
import { better } from './part.ts';
import type { Part } from './part.ts';
import type { PortRange } from './rule.ts';

/**
 * A segment tree of ranges of ports: each range is kept at a few nodes, and a port finds all that hold it in as
 * many steps as the tree is deep, however the ranges overlap.
 */
export class PortTree {
  /** First port of each elementary interval, ascending; the last interval has no end. */
  readonly #starts: Uint32Array;
  /** Leaves are the last `#leaves` of these; the parent of n is n / 2. */
  readonly #parts: (Part | undefined)[];
  readonly #leaves: number;

  /** `make` gives the part of a node from the items whose range covers it. */
  constructor(items: readonly (readonly [PortRange, number])[], make: (items: readonly number[]) => Part) {
    const starts = new Set([0]);
    for (const [{ first, last }] of items) starts.add(first).add(last + 1);
    this.#starts = Uint32Array.from(starts).toSorted();
    this.#leaves = 2 ** Math.ceil(Math.log2(this.#starts.length));
    const lists: number[][] = [];
    for (const [{ first, last }, item] of items) {
      let from = this.#interval(first) + this.#leaves;
      let to = this.#interval(last) + this.#leaves;
      for (; from <= to; from >>= 1, to >>= 1) {
        if (from % 2 === 1) (lists[from++] ??= []).push(item);
        if (to % 2 === 0) (lists[to--] ??= []).push(item);
      }
    }
    this.#parts = Array.from({ length: 2 * this.#leaves }, (_, node) => {
      const list = lists[node];
      return list === undefined ? undefined : make(list);
    });
  }

  /** Looks in the parts of every node that holds the flow's port. */
  find(facts: Facts, before: number): number {
    const parts = this.#parts;
    let best = before;
    let node = this.#interval(facts.tuple.destination.port) + this.#leaves;
    for (; node > 0; node >>= 1) best = better(parts[node], facts, best);
    return best;
  }

  /** Index of the interval that `port` lies in. */
  #interval(port: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= port) low = middle;
      else high = middle;
    }
    return low;
  }
}
