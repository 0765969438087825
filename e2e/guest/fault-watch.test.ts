// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { fetchFault } from './fault-watch.ts'

const registers = (rip: string, cr2: string) => `CPU#0\r
RAX=00000001084f3000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000\r
RSI=0000000000000000 RDI=000000000009be04 RBP=ffffffff83011140 RSP=ffffc900009ffba8\r
RIP=${rip} RFL=00010246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r
CR0=80050033 CR2=${cr2} CR3=0000000120656000 CR4=00750ef0\r
`

test('a fault on the instruction that the CPU is at', () => {
  expect(fetchFault(registers('ffffffffc03b06b0', 'ffffffffc03b06b0'))).toBe(
    'RIP=CR2=ffffffffc03b06b0 RSP=ffffc900009ffba8',
  )
  expect(fetchFault(registers('ffffffff8132acdf', '00007fdb69139b20'))).toBeUndefined()
  expect(fetchFault('')).toBeUndefined()
})
