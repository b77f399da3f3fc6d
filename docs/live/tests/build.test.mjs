/** index.html is what build.mjs makes of src/, is one program, and needs no network. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";

import { built } from "../build.mjs";

test("index.html is current: if not, run node docs/live/build.mjs", () => {
  const committed = readFileSync(new URL("../index.html", import.meta.url), "utf8");
  assert.ok(committed === built());
});

test("its script is one module that Node can read, with no import left", () => {
  const script = /<script type="module">\n([\s\S]*?)<\/script>/.exec(built())[1];
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "--check"], { input: script });
  assert.equal(status, 0, String(stderr));
  assert.doesNotMatch(script, /^\s*(import|export)\b/m);
});

test("it asks no server for anything", () => {
  assert.doesNotMatch(built(), /(src|href)\s*=\s*["']?(https?:)?\/\/|@import|url\(\s*["']?(https?:)?\/\/|fetch\(|XMLHttpRequest|WebSocket/);
});
