#!/usr/bin/env bash
# Makes the pictures of the pages in docs/ui.md anew, with Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/images
(cd integration && go run ./cmd/screenshots ../docs/images)
