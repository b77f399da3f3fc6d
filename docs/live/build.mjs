/**
 * Makes index.html, one file that works from the file system, where browsers refuse modules: node docs/live/build.mjs
 *
 * src/page.js and what it imports are put one after the other into src/page.html, without their import and export
 * words, beside src/style.css.  So names at the top of modules must differ, which is checked.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("src/", import.meta.url);
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const IMPORT = /^import \{[^}]*\} from "\.\/([\w-]+\.js)";\n/gm;
const EXPORT = /^export (?=(async )?(function|const|let|class) )/gm;
const NAME = /^(?:async )?(?:function\*?|const|let|var|class) (?:\{[^}]*\}|\[[^\]]*\]|[\w$]+)/gm;

/** The modules that one needs, itself the last, as [name, text]. */
function modules(name, found = new Map()) {
  const text = read(name);
  for (const [, needed] of text.matchAll(IMPORT)) if (!found.has(needed)) modules(needed, found);
  return found.set(name, text.replace(IMPORT, "").replace(EXPORT, ""));
}

/** The whole page. */
export function built() {
  const owner = new Map();
  const parts = [];
  for (const [file, text] of modules("page.js")) {
    for (const [line] of text.matchAll(NAME)) {
      for (const [name] of line.replace(/^(async )?\S+/, "").matchAll(/[\w$]+/g)) {
        if (owner.has(name)) throw new Error(`${file} and ${owner.get(name)} both have ${name}: give one another name`);
        owner.set(name, file);
      }
    }
    const left = /^\s*(import|export)\b.*$/m.exec(text) ?? /<\/script.*$/im.exec(text);
    if (left) throw new Error(`${file}: "${left[0]}" cannot be put into one file`);
    parts.push(`// --- ${file} ---\n\n${text.trim()}\n`);
  }
  const page = read("page.html");
  const marks = ["/*STYLE*/", "/*SCRIPT*/"];
  for (const mark of marks) if (page.split(mark).length !== 2) throw new Error(`page.html must have ${mark} once`);
  return page.replace(marks[0], () => read("style.css").trim()).replace(marks[1], () => parts.join("\n").trim());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL("index.html", import.meta.url), built());
}
