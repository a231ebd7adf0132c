// Bundle the viewer's sources into one page: `npm ci && npm run build`. The same sources give the same bytes.
//
// The page's content security policy names its own script and style by their hashes, so that it runs nothing else; chunks
// of data are scripts that its script asks for ('strict-dynamic'), since a page from the file system may read no other file.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const bundle = async (entry) => {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    write: false,
    charset: "ascii",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "inline",
  });
  return outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
};

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = await bundle("src/main.jsx");
const style = await bundle("src/style.css");
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'strict-dynamic'`,
  `style-src ${hash(style)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const parts = { POLICY: policy, STYLE: style, SCRIPT: script };
const page = readFileSync(here("src/page.html"), "utf8").replace(/@(POLICY|STYLE|SCRIPT)@/g, (_, part) => parts[part]);
writeFileSync(process.argv[2], page);
