/** What a secret looks like wherever it is printed. */
export const MASK = '********';

/**
 * A value that must never be printed. JSON, templates and pino show the mask, and an
 * inspection shows nothing, since the field is private; only `reveal` gives the value.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
    Object.freeze(this);
  }

  /** The value itself: pass it straight on, keep it nowhere. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }
}
