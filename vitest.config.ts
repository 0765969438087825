// SPDX-License-Identifier: Apache-2.0
/**
 * Test tiers. `unit` needs nothing but Node; `native` needs the built addon; `integration` needs the built daemon (dist/) and
 * root; `libvirt` needs libvirtd, QEMU and the rig's root besides; `docs` needs chromium; `packages` needs what npm run package
 * has built; `device` needs /dev/memory-view, so it runs inside the rig. `bench` is no test. The driver's selftests and the
 * nested end-to-end run are not vitest: see doc/testing.md.
 */
import { defineConfig } from 'vitest/config'

// An emulated machine takes its time: see server/integration/README.md.
const patience = Number(process.env['VIEWFSD_TEST_PATIENCE'] ?? 1)

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['server/**/*.test.ts', 'e2e/**/*.test.ts'],
          exclude: [
            'e2e/docs/looks.test.ts',
            'e2e/libvirt/**',
            'e2e/packages/{install,packages,service}.test.ts',
            'server/integration/**',
            'server/fuzz/corpus*.test.ts',
          ],
        },
      },
      {
        test: {
          name: 'native',
          include: ['native/test/**/*.test.ts', 'server/fuzz/corpus.test.ts'],
          globalSetup: ['native/test/testing/own-disk.ts'],
          pool: 'forks',
          execArgv: ['--conditions=testing'],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['server/integration/**/*.test.ts', 'server/fuzz/corpus-daemon.test.ts'],
          exclude: ['server/integration/**/*.device.test.ts'],
          globalSetup: ['server/integration/harness/reachable-checkout.ts'],
          pool: 'forks',
          // Each test has a daemon and a directory of its own; two at a time keep two cores busy.
          maxWorkers: 2,
          testTimeout: 120_000 * patience,
          hookTimeout: 120_000 * patience,
        },
      },
      {
        test: {
          name: 'libvirt',
          include: ['e2e/libvirt/*.test.ts'],
          pool: 'forks',
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'docs',
          include: ['e2e/docs/looks.test.ts'],
          pool: 'forks',
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'packages',
          include: ['e2e/packages/{install,packages,service}.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 1_200_000,
        },
      },
      {
        test: {
          name: 'bench',
          include: ['server/integration/bench/*.bench.ts'],
          globalSetup: ['server/integration/harness/reachable-checkout.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'device',
          include: ['server/integration/**/*.device.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 120_000 * patience,
          hookTimeout: 120_000 * patience,
        },
      },
    ],
  },
})
