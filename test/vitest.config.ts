import { defineConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = defineConfig({
  test: {
    root: import.meta.dirname,
    globalSetup: ['./setup.ts'],
    include: ['**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // Concurrent tests are those that wait.
    maxConcurrency: 16,
    // Two cores: more files at once would measure each other.
    maxWorkers: 2,
  },
})
export default config
