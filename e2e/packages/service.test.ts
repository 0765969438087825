// SPDX-License-Identifier: Apache-2.0
/** The package's units under a real systemd: every operation of a guest behind their walls, and how they come and go. */
import { chmodSync, constants, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { ALL_OPTIONS, everyOperation } from '../../server/integration/harness/every-operation.ts'
import { ROOT_ID } from '../../server/integration/harness/fuse-abi.ts'
import { Frontend } from '../../server/integration/harness/frontend.ts'
import { type Device, driveDevice, outcome } from '../../server/integration/harness/session.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { commandBlock } from '../docs/blocks.ts'
import { Manager, SHARED } from './manager.ts'
import { bootableRoot } from './roots.ts'

const { O_RDWR } = constants
const NAME = 'data'
const SERVICE = `viewfsd@${NAME}.service`
const SOCKET = `viewfsd@${NAME}.socket`
const OWNER = 12_345
const S_IFCHR = 0o020000
/** /dev/null: makedev(1, 3). */
const NULL_DEVICE = 0x103
let shared: string
let manager: Manager

const state = (property: string): string => manager.run(`systemctl show -P ${property} ${SERVICE}`)

async function until(property: string, value: string): Promise<void> {
  while (state(property) !== value) await sleep(50)
}

function configure(options: readonly string[]): void {
  manager.run(`printf '%s\\n' 'VIEWFSD_OPTIONS="${options.join(' ')}"' >/etc/viewfsd/${NAME}.conf`)
}

/** A frontend at the unit's socket, which starts the service where it does not run. */
function connect(): Frontend {
  const frontend = new Frontend(testing.connectUnix(manager.path(`/run/viewfsd/${NAME}.sock`)))
  onTestFinished(() => frontend.close())
  frontend.realize()
  return frontend
}

function drive(frontend: Frontend): Device {
  return driveDevice(frontend, () => {
    const now = state('ActiveState')
    if (now === 'failed') throw new Error(manager.run(`journalctl -u ${SERVICE} -n 30 -o cat`))
  })
}

beforeAll(async () => {
  if (process.geteuid?.() !== 0) throw new Error('these tests need root')
  const packages = join(cacheSubdir('packages'), 'trixie')
  const deb = readdirSync(packages).find((name) => name.startsWith('viewfsd_'))
  if (deb === undefined) throw new Error('no packages: npm run package')
  shared = mkdtempSync(join(tmpdir(), 'viewfsd-service-'))
  chmodSync(shared, 0o755)
  mkdirSync(join(shared, 'share'))
  copyFileSync(join(packages, deb), join(shared, deb))
  manager = new Manager(await bootableRoot(), shared)
  await manager.ready()
  manager.run(`dpkg -i ${SHARED}/${deb}`)
  configure([`--shared-dir=${SHARED}/share`])
  manager.run(commandBlock('doc/systemd.md', 'enable').join('\n').replaceAll('NAME', NAME))
}, 300_000)

afterAll(() => {
  manager?.stop()
  rmSync(shared, { recursive: true, force: true })
})

test('what systemd itself thinks of the walls', () => {
  const rating = manager.run(`systemd-analyze security --no-pager ${SERVICE}`)
  expect(Number(/exposure level for [^:]*: ([\d.]+)/.exec(rating)?.[1]), rating).toBeLessThan(2)
})

test('the service starts for a frontend, serves all that a guest can ask, and ends with it', async () => {
  const sandbox = /^--(sandbox|keep-listening)/
  configure([`--shared-dir=${SHARED}/share`, ...ALL_OPTIONS.filter((option) => !sandbox.test(option))])
  expect(state('ActiveState')).toBe('inactive')
  const frontend = connect()
  const device = drive(frontend)
  const failed = everyOperation(device, OWNER)
    .map(([name, operation]) => [name, outcome(operation)])
    .filter(([, how]) => how !== 'ok')
  expect(failed).toEqual([])
  expect(statSync(join(shared, 'share/directory')).mode & 0o7777).toBe(0o755)
  expect(statSync(join(shared, 'share/file')).uid).toBe(OWNER)
  expect(state('StatusText')).not.toBe('')
  expect(manager.run('viewfsdctl status')).toContain('viewfsd')
  frontend.close()
  await until('ActiveState', 'inactive')
  expect(state('Result')).toBe('success')
  // The next one.
  drive(connect()).client.statfs(ROOT_ID)
})

test('the journal has its kinds of events', () => {
  const output = manager.run(commandBlock('doc/logging.md', 'journal').join('\n'))
  expect(output).toContain('-- No entries --')
  expect(output).toContain('VIEWFSD_EVENT=frontend-connected')
})

/** What the walls keep from a share, and the drop-ins of doc/systemd.md that give it back. */
const WALLS = [
  {
    what: 'shares below /root',
    options: ['--shared-dir=/root/share'],
    dropIn: 'ProtectHome=no',
  },
  {
    what: 'device nodes',
    options: [`--shared-dir=${SHARED}/share`],
    dropIn: 'PrivateDevices=no CapabilityBoundingSet=CAP_MKNOD DeviceAllow=char-*~m DeviceAllow=block-*~m',
    use: ({ client }: Device) => client.mknod(ROOT_ID, 'null', S_IFCHR | 0o666, NULL_DEVICE),
  },
  {
    what: '--modcaps=+sys_admin',
    options: [`--shared-dir=${SHARED}/share`, '--modcaps=+sys_admin', '--xattr'],
    dropIn: 'CapabilityBoundingSet=CAP_SYS_ADMIN',
    use: ({ client }: Device) => client.setxattr(ROOT_ID, 'trusted.key', Buffer.from('value')),
  },
  {
    what: '--sandbox=namespace',
    options: [`--shared-dir=${SHARED}/share`, '--sandbox=namespace'],
    dropIn: 'CapabilityBoundingSet=CAP_SYS_ADMIN RestrictNamespaces=mnt~pid~net',
  },
  {
    what: '--metrics=HOST:PORT',
    options: [`--shared-dir=${SHARED}/share`, '--metrics=127.0.0.1:9551'],
    dropIn: 'PrivateNetwork=no RestrictAddressFamilies=AF_INET~AF_INET6 IPAddressAllow=localhost',
    use: () => {
      const ask = `exec 3<>/dev/tcp/127.0.0.1/9551; printf 'GET /metrics HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3`
      expect(manager.run(`bash -c "${ask}"`)).toContain('viewfsd_uptime_seconds')
    },
  },
]

test.each(WALLS)('$what: not without a drop-in', ({ options, dropIn, use }) => {
  const folder = `/etc/systemd/system/viewfsd@.service.d`
  const works = (): string => {
    manager.run(`systemctl daemon-reload; systemctl stop ${SERVICE}; systemctl reset-failed`)
    if (manager.run(`systemctl start ${SERVICE} 2>/dev/null || echo failed`) !== '') return 'failed'
    return outcome(() => use?.(drive(connect())))
  }
  manager.run(`mkdir -p /root/share ${folder}`)
  onTestFinished(() => void manager.run(`rm -r ${folder}; systemctl daemon-reload; systemctl stop ${SERVICE}`))
  configure(options)
  expect(works()).not.toBe('ok')
  const lines = ['[Service]', ...dropIn.split(' ')].map((line) => `${line.replaceAll('~', ' ')}\n`)
  manager.run(`printf '%s' '${lines.join('')}' >${folder}/walls.conf`)
  expect(works()).toBe('ok')
})

interface Entry {
  readonly PRIORITY: string
  readonly MESSAGE: string
  readonly SYSLOG_IDENTIFIER: string
  readonly VIEWFSD_EVENT: string
  readonly [field: string]: unknown
}

/** The entries of the unit that are of an event, as the journal itself tells them. */
function journal(event: string): Entry[] {
  const lines = manager.run(`journalctl -u ${SERVICE} --no-pager -o json VIEWFSD_EVENT=${event}`)
  return lines.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

test('the journal has priorities, fields and ids of events', () => {
  manager.run(`systemctl stop ${SERVICE}`)
  configure([`--shared-dir=${SHARED}/share`, '-f'])
  drive(connect()).client.statfs(ROOT_ID)
  manager.run(`systemctl stop ${SERVICE}`)
  configure([`--shared-dir=${SHARED}/share`, '--window=memory-view'])
  manager.run(`! systemctl start ${SERVICE}; systemctl stop ${SERVICE}; journalctl --sync`)
  const common = { SYSLOG_IDENTIFIER: 'viewfsd', _SYSTEMD_UNIT: SERVICE }
  expect(journal('window-chosen').at(-1)).toMatchObject({
    ...common,
    PRIORITY: '6',
    VIEWFSD_WINDOW: 'none',
    VIEWFSD_WINDOW_SIZE: '0',
    MESSAGE: expect.stringMatching(/^window auto: none, because /),
  })
  expect(journal('option-deprecated').at(-1)).toMatchObject({ ...common, PRIORITY: '4' })
  expect(journal('start-failed').at(-1)).toMatchObject({ ...common, PRIORITY: '2' })
  expect(journal('frontend-connected').length).toBeGreaterThan(0)
  const grave = manager.run(`journalctl -u ${SERVICE} SYSLOG_IDENTIFIER=viewfsd -p warning -o cat --no-pager`)
  expect(grave).toMatch(/-f is deprecated/)
  expect(grave).not.toContain('window auto')
})

test('what dies is started again, and serves the next frontend', async () => {
  configure([`--shared-dir=${SHARED}/share`])
  manager.run(`systemctl start ${SERVICE}`)
  const first = state('MainPID')
  manager.run(`systemctl kill --kill-whom=main --signal=KILL ${SERVICE}`)
  await until('NRestarts', '1')
  await until('ActiveState', 'active')
  expect(state('MainPID')).not.toBe(first)
  drive(connect()).client.statfs(ROOT_ID)
})

/** What `viewfsdctl status` says of servers; undefined while one follows another. */
function servers(): { readonly restarts: number; readonly last: { readonly cause: string } | null } | undefined {
  const status = manager.run('viewfsdctl status --json 2>/dev/null || true')
  return status === '' ? undefined : JSON.parse(status).servers
}

test('with --on-crash=restart the guest goes on after a kill and a reload, of which the manager knows nothing', async () => {
  manager.run(`systemctl stop ${SERVICE}`)
  configure([`--shared-dir=${SHARED}/share`])
  const { client: other } = drive(connect())
  expect(manager.run(`systemctl reload ${SERVICE} 2>&1 || true; journalctl -u ${SERVICE} -n 5 -o cat`)).toContain(
    'only a daemon with --on-crash=restart can be upgraded',
  )
  other.statfs(ROOT_ID)
  manager.run(`systemctl stop ${SERVICE}`)
  configure([`--shared-dir=${SHARED}/share`, '--on-crash=restart'])
  const { client } = drive(connect())
  const { entry, fh } = client.create(ROOT_ID, 'kept', O_RDWR)
  client.write(entry.nodeid, fh, 0, Buffer.from('kept'))
  const read = (): string => Buffer.from(client.read(entry.nodeid, fh, 0, 100)).toString()
  const main = state('MainPID')
  const server = manager.run(`cat /proc/${main}/task/${main}/children`).split(' ').at(-1)
  manager.run(`kill -KILL ${server}`)
  expect(read()).toBe('kept')
  while (servers()?.restarts !== 1) await sleep(50)
  expect(servers()?.last?.cause).toBe('SIGKILL')
  manager.run(`systemctl reload ${SERVICE}`)
  while (servers()?.restarts !== 2) await sleep(50)
  expect(servers()?.last?.cause).toBe('upgrade')
  expect(read()).toBe('kept')
  expect([state('MainPID'), state('NRestarts'), state('ActiveState')]).toEqual([main, '0', 'active'])
})

test('a wrong command line is not tried again', async () => {
  manager.run(`systemctl stop ${SERVICE}`)
  configure(['--no-such-option'])
  manager.run(`! systemctl start ${SERVICE}`)
  await until('ActiveState', 'failed')
  expect([state('ExecMainStatus'), state('NRestarts')]).toEqual(['2', '0'])
  expect(manager.run(`journalctl -u ${SERVICE} -n 5 -o cat`)).toContain('--no-such-option')
})

test('the end of the socket is the end of all', () => {
  manager.run(`systemctl reset-failed ${SERVICE}`)
  configure([`--shared-dir=${SHARED}/share`])
  manager.run(`systemctl start ${SERVICE}; systemctl stop ${SOCKET}`)
  expect(state('ActiveState')).toBe('inactive')
  expect(state('Result')).toBe('success')
  expect(manager.run('ls /run/viewfsd')).toBe('')
})
