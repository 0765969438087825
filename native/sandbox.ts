// SPDX-License-Identifier: Apache-2.0
/** The sandbox's native part; native/binding/sandbox.cc. Used by server/sandbox/ alone. */

/** What a system call that is not on the list does to the process; native/sandbox/seccomp_rules.cc has the list. */
export type SeccompAction = 'none' | 'kill' | 'log' | 'trap'

export interface NativeSandbox {
  /**
   * execve(2): replaces this process, with all its threads. Standard input, output and error and `descriptors` have to be
   * named to stay open.
   * @throws execve's errors; else it does not return
   */
  readonly executeProgram: (
    argv: readonly string[],
    environment: readonly string[],
    descriptors: readonly number[],
  ) => never
  /** Says which descriptor is /proc/self/fd, before anything has needed it; the process's from then on. */
  readonly useProcFds: (fd: number) => void
  /**
   * Becomes root of the user namespace, where there is one that has such an id; asks the launcher to make `root` this
   * process's root directory (`control` -1: leaves it); puts the filter on all threads, and looks at each of them: filter,
   * no_new_privs, no capability beyond `capabilities`, root directory.
   * @param control the channel to the launcher; closed
   * @throws an error that says what is not as it has to be: no guest may be served then
   */
  readonly closeDoors: (
    control: number,
    root: number,
    userNamespace: boolean,
    action: SeccompAction,
    capabilities: bigint,
  ) => void
}
