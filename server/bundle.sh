#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes few files of the program's many, which start in less time: dist/server/main.js, with what it loads only when it serves
# in a file of its own, dist/server/queue-worker.cjs, since threads start when files can't be read any more, and
# dist/server/viewfsdctl.js.
#
# Version and commit are built in. VIEWFSD_COMMIT names the commit where there is no git to ask.
#
# Usage: sh server/bundle.sh, after tsc
set -eu

cd "$(dirname "$0")/../dist/server"
version=$(node -p 'require("../../package.json").version')
# "-dirty" behind it: files have changed since.
commit=${VIEWFSD_COMMIT:-$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)}
rm -f main-*.js
bundle() {
	../../node_modules/.bin/esbuild "$@" --bundle --platform=node --target=node20 --minify-syntax --minify-whitespace --keep-names \
		--define:VIEWFSD_VERSION="\"$version\"" --define:VIEWFSD_COMMIT="\"$commit\"" --log-level=warning
}
# pino is written in CommonJS.
bundle main.js --format=esm --banner:js="import{createRequire as requireFor}from'node:module';const require=requireFor(import.meta.url);" --splitting --chunk-names='main-[hash]' --outdir=. --allow-overwrite
bundle queue-worker.js --format=cjs --log-override:empty-import-meta=silent --outfile=queue-worker.cjs
bundle control/ctl/main.js --format=esm --outfile=viewfsdctl.js
chmod +x main.js viewfsdctl.js
