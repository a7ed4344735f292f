"""The files of frameworks, installed by `npm install --prefix js`."""

from __future__ import annotations

from pathlib import Path

NODE_MODULES = Path(__file__).resolve().parents[2] / "js" / "node_modules"
TURBO = NODE_MODULES / "@hotwired/turbo/dist/turbo.es2017-esm.js"
VUE = NODE_MODULES / "vue/dist/vue.esm-browser.prod.js"
