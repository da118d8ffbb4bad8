import { METRIC_SERIES_MAX } from '../../core/limits.ts';
import type { Labels, Sample } from '../../core/exposition.ts';

/** Stands for every value of a label for which there is no more room. */
export const OTHER = 'other';

/**
 * A counter by labels, of bounded size: once it has `most` combinations, new ones are counted with `OTHER` in the
 * place of those labels that are named as `free`, whose values come from outside.
 */
export class Tally {
  readonly #free: readonly string[];
  readonly #most: number;
  readonly #samples = new Map<string, { readonly labels: Labels; value: number }>();

  constructor(free: readonly string[], most: number = METRIC_SERIES_MAX) {
    this.#free = free;
    this.#most = most;
  }

  add(labels: Labels, value: number): void {
    const key = keyOf(labels);
    const known = this.#samples.get(key);
    if (known !== undefined) known.value += value;
    else if (this.#samples.size < this.#most) this.#samples.set(key, { labels, value });
    else this.#addOther(labels, value);
  }

  /** A copy that can be added to. */
  copy(): Tally {
    const copy = new Tally(this.#free, this.#most);
    for (const [key, { labels, value }] of this.#samples) copy.#samples.set(key, { labels, value });
    return copy;
  }

  get samples(): readonly Sample[] {
    return [...this.#samples.values()];
  }

  /** There are no more of these than the other labels have values, which are few. */
  #addOther(labels: Labels, value: number): void {
    const folded = { ...labels, ...Object.fromEntries(this.#free.map((name) => [name, OTHER])) };
    const key = keyOf(folded);
    const known = this.#samples.get(key);
    if (known === undefined) this.#samples.set(key, { labels: folded, value });
    else known.value += value;
  }
}

/** The labels of a tally always come in the same order. */
function keyOf(labels: Labels): string {
  let key = '';
  // Without a list in between: this is done for every flow.
  for (const name in labels) key += `${labels[name]}\n`;
  return key;
}
