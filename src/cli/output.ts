/** A stream that text is written to. */
export interface Output {
  readonly terminal: boolean;
  /** Columns of the terminal now; undefined where there is none. */
  readonly columns?: number | undefined;
  write(text: string | Uint8Array): void;
}
