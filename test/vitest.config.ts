import { defineConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = defineConfig({
  test: {
    root: import.meta.dirname,
    globalSetup: ['./setup.ts'],
    include: ['**/*.test.ts'],
    testTimeout: 20_000,
    expect: { poll: { timeout: 10_000 } }, // a busy machine is late, and not wrong
    hookTimeout: 30_000,
    teardownTimeout: 30_000, // a gateway takes up to its drain to stop, and the emulator after it
    // Concurrent tests are those that wait.
    maxConcurrency: 16,
    // Two cores, and files of which some do little but wait.
    maxWorkers: 3,
  },
})
export default config
