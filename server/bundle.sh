#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes few files of the program's many, which start in less time: dist/server/main.js, with what it loads only when it serves
# in a file of its own, dist/server/queue-worker.cjs, since threads start when files can't be read any more, and
# dist/server/viewfsdctl.js.
#
# Usage: sh server/bundle.sh, after tsc
set -eu

cd "$(dirname "$0")/../dist/server"
rm -f main-*.js
bundle() {
	npx --no-install esbuild "$@" --bundle --platform=node --target=node20 --minify-syntax --minify-whitespace --keep-names --log-level=warning
}
# pino is written in CommonJS.
bundle main.js --format=esm --banner:js="import{createRequire as requireFor}from'node:module';const require=requireFor(import.meta.url);" --splitting --chunk-names='main-[hash]' --outdir=. --allow-overwrite
bundle queue-worker.js --format=cjs --log-override:empty-import-meta=silent --outfile=queue-worker.cjs
bundle control/ctl/main.js --format=esm --outfile=viewfsdctl.js
chmod +x main.js viewfsdctl.js
