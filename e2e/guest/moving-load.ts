// SPDX-License-Identifier: Apache-2.0
/** What a guest does in its share while it is moved about. */

/** Who runs scripts in the guest. */
interface Guest {
  must(script: string): Promise<string>
}

const COMPLAINTS = '/run/load-complaints'
/** Directories that it has made and not removed. */
const KEPT = 20

/**
 * Numbers what it does, in a file that stays open; makes, reads and removes files meanwhile, and lists a directory. Whatever goes wrong is
 * in COMPLAINTS, which does not lie in the share.
 */
const LOAD = `mkdir /mnt/load; cd /mnt/load
exec 5>log 6<>/mnt/w 2>${COMPLAINTS}
i=0
while [ ! -e stop ]; do
  i=$((i + 1)); echo $i >&5
  mkdir d$i && echo $i >d$i/f && [ "$(cat d$i/f)" = $i ] && mv d$i/f d$i/g && [ "$(ls d$i)" = g ] || echo "round $i" >&2
  [ $i -le ${KEPT} ] || rm -r d$((i - ${KEPT})) || echo "removal in round $i" >&2
done
cat <&6 | sha256sum >sum
echo done >finished`

async function rounds(guest: Guest): Promise<number> {
  return Number(await guest.must('tail -n 1 /mnt/load/log'))
}

async function hasDone(guest: Guest, count: number): Promise<void> {
  await guest.must(`until [ "$(tail -n 1 /mnt/load/log)" -ge ${count} ]; do
    [ ! -s ${COMPLAINTS} ] || { head ${COMPLAINTS}; exit 1; }
    sleep 0.1
  done`)
}

/** Waits until the load has done some more. */
export async function loadGoesOn(guest: Guest): Promise<void> {
  await hasDone(guest, (await rounds(guest)) + 6)
}

/** Starts the load in a share that is mounted at /mnt. */
export async function startLoad(guest: Guest): Promise<void> {
  await guest.must(`dd if=/dev/urandom of=/mnt/w bs=1M count=3 status=none; sha256sum /mnt/w >/mnt/W
    cat >/run/load <<'END'\n${LOAD}\nEND\nsetsid sh /run/load </dev/null >/dev/null 2>&1 &
    until [ -s /mnt/load/log ]; do sleep 0.1; done`)
  await loadGoesOn(guest)
}

/** Ends the load; throws unless all that it has done is there. Gives how many rounds that was. */
export async function endLoad(guest: Guest): Promise<number> {
  // From then on it removes, too.
  await hasDone(guest, KEPT + 1)
  await guest.must('touch /mnt/load/stop; until [ -e /mnt/load/finished ]; do sleep 0.1; done')
  const complaints = await guest.must(`cat ${COMPLAINTS}`)
  if (complaints !== '') throw new Error(`the load complains: ${complaints}`)
  const count = await rounds(guest)
  await guest.must(`set -e; cd /mnt/load; seq ${count} | cmp - log
    [ "$(cut -d' ' -f1 sum)" = "$(cut -d' ' -f1 ../W)" ]; [ $(ls -d d* | wc -l) = ${KEPT} ]; cd /; rm -r /mnt/load`)
  return count
}
