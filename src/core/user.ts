/** Which user the process is to be: `auto` an unprivileged one where that does no harm, `keep` the present one. */
export type UserChoice = 'auto' | 'keep' | { readonly uid: number; readonly gid: number };
