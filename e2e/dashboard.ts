// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run dashboard`: share/grafana-dashboard.json with the data of a guest that works, drawn without Grafana, which Debian does not have: Debian's
 * Prometheus keeps what was fetched from a daemon in the rig, evaluates each panel's queries, and Chromium makes doc/dashboard.png of the
 * answers. Fails where a panel has no data.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { dashboardPage, type Drawn } from './dashboard/page.ts'
import { output } from './rig/command.ts'
import { builtDriver } from './rig/driver.ts'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { checkout } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'
import { builtTools } from './rig/tools.ts'

const KERNEL = '7.3'
const PORT = 9552
const WIDTH = 1400
const STEP_SECONDS = 5
const RATE_INTERVAL = '30s'

interface Panel {
  readonly title: string
  readonly type: string
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[]
  readonly gridPos: Drawn['gridPos']
  readonly fieldConfig: { readonly defaults: { readonly unit: string } }
}

async function scrapesOfAGuest(): Promise<string> {
  const root = await hostRoot()
  const result = await runInMachine(root, {
    kernel: KERNEL,
    script: 'exec node dist/e2e/dashboard/session.js',
    files: { 'memory_view.ko': await builtDriver(root, KERNEL), ...(await builtTools(root)) },
    memoryMiB: 6144,
    timeoutSeconds: 3000,
    onOutput: (chunk) => process.stdout.write(chunk),
  })
  checkRun('the guest of the dashboard', result)
  return join(result.dir, 'out', 'scrapes')
}

/** One OpenMetrics text with a time at each sample; the samples of a family must be together. */
function withTimes(directory: string): { text: string; from: number; to: number } {
  const families = new Map<string, string[]>()
  const times = readdirSync(directory)
    .map(Number)
    .toSorted((one, other) => one - other)
  for (const time of times) {
    let family = ''
    for (const line of readFileSync(join(directory, `${time}`), 'utf8').split('\n')) {
      if (line === '' || line === '# EOF') continue
      if (line.startsWith('# TYPE ')) family = line.split(' ')[2] ?? ''
      const lines = families.get(family) ?? []
      families.set(family, lines)
      if (!line.startsWith('#')) lines.push(`${withInstance(line)} ${time / 1000}`)
      else if (!lines.includes(line)) lines.push(line)
    }
  }
  const text = [...families.values()].map((lines) => `${lines.join('\n')}\n`).join('')
  return { text: `${text}# EOF\n`, from: (times[0] ?? 0) / 1000, to: (times.at(-1) ?? 0) / 1000 }
}

/** As Prometheus itself marks what it fetches. */
function withInstance(sample: string): string {
  const labels = 'instance="127.0.0.1:9551",job="viewfsd"'
  return sample.includes('{') ? sample.replace('{', `{${labels},`) : sample.replace(' ', `{${labels}} `)
}

/** @returns series of [seconds, value] */
async function ask(expr: string, from: number, to: number): Promise<Drawn['series']> {
  const query = expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', RATE_INTERVAL)
  const parameters = new URLSearchParams({ query, start: `${from}`, end: `${to}`, step: `${STEP_SECONDS}` })
  const reply = await fetch(`http://127.0.0.1:${PORT}/api/v1/query_range?${parameters.toString()}`)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Prometheus's own form
  const answer = (await reply.json()) as {
    status: string
    error?: string
    data?: { result: { metric: Record<string, string>; values: [number, string][] }[] }
  }
  if (answer.data === undefined) throw new StepError(`${query}: ${answer.error ?? answer.status}`)
  return answer.data.result.map(({ metric, values }) => ({
    labels: metric,
    points: values
      .map(([time, value]): [number, number] => [time - from, Number(value)])
      .filter(([, value]) => Number.isFinite(value)),
  }))
}

async function answers(panels: readonly Panel[], from: number, to: number): Promise<Drawn[]> {
  const drawn: Drawn[] = []
  for (const { title, type, targets, gridPos, fieldConfig } of panels) {
    const series: Drawn['series'][number][] = []
    for (const { expr, legendFormat } of targets) {
      const found = (await ask(expr, from, to)).filter(({ points }) => points.length > 0)
      if (found.length === 0) throw new StepError(`the panel "${title}" has no data: ${expr}`)
      for (const { labels, points } of found) {
        const name = legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '')
        series.push({ labels: { name }, points })
      }
    }
    drawn.push({ title, type, gridPos, unit: fieldConfig.defaults.unit, series })
  }
  return drawn
}

/** @param scrapes a folder of answers of /metrics, each named by its time in milliseconds */
async function draw(scrapes: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'dashboard-'))
  const { text, from, to } = withTimes(scrapes)
  const file = join(scratch, 'metrics')
  writeFileSync(file, text)
  output(['promtool', 'tsdb', 'create-blocks-from', 'openmetrics', file, join(scratch, 'data')])
  writeFileSync(join(scratch, 'prometheus.yml'), '')
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${scratch}/prometheus.yml`,
      `--storage.tsdb.path=${scratch}/data`,
      '--storage.tsdb.retention.time=100y',
      `--web.listen-address=127.0.0.1:${PORT}`,
    ],
    { stdio: 'ignore' },
  )
  try {
    const ready = (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${PORT}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    while (!(await ready())) {
      if (prometheus.exitCode !== null) throw new StepError('prometheus has ended')
      await sleep(100)
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- dashboard.test.ts looks at it
    const { panels } = JSON.parse(readFileSync(join(checkout, 'share/grafana-dashboard.json'), 'utf8')) as {
      panels: Panel[]
    }
    const drawn = await answers(panels, from, to)
    const page = join(scratch, 'page.html')
    const { html, height } = dashboardPage(drawn, to - from, WIDTH)
    writeFileSync(page, html)
    const image = join(checkout, 'doc/dashboard.png')
    const flags = ['--headless', '--no-sandbox', '--hide-scrollbars', `--window-size=${WIDTH},${height}`]
    output(['chromium', ...flags, `--screenshot=${image}`, `file://${page}`])
    say(`${drawn.length} panels with data, drawn as ${image}`)
  } finally {
    prometheus.kill()
    if (prometheus.exitCode === null) await once(prometheus, 'exit')
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function main(): Promise<number> {
  await draw(process.argv[2] ?? (await scrapesOfAGuest()))
  return 0
}

runMain(main)
