// SPDX-License-Identifier: Apache-2.0
export function hash(text: string): number {
  let result = 7
  for (const letter of Buffer.from(text)) result = (result * 31 + letter) >>> 0
  return result
}
