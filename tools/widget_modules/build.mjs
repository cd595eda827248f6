// Bundles each widget's module into the package. `--check` compares with what lies there, and writes nothing.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "../../neuron_explainer/widgets/modules/static");
const MODULES = ["node_rows", "page"];

/** SHA-256 of everything that a bundle is made of. tests/project/test_widget_modules.py computes it in the same way. */
function sourcesHash() {
  const sources = readdirSync(join(HERE, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name.replaceAll("\\", "/")}`);
  const hash = createHash("sha256");
  for (const name of [...sources, "build.mjs", "package-lock.json", "package.json"].sort()) {
    const content = readFileSync(join(HERE, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** The licences of the packages that a bundle contains. */
function licences(metafile) {
  const packages = new Set(
    Object.keys(metafile.inputs)
      .map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1])
      .filter((name) => name !== undefined),
  );
  return [...packages].sort().map((name) => {
    const folder = join(HERE, "node_modules", name);
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return `${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}`;
  });
}

async function bundled(name, sources) {
  const result = await build({
    absWorkingDir: HERE,
    entryPoints: [`src/${name}.ts`],
    bundle: true,
    format: "esm",
    target: "es2020",
    minify: true,
    legalComments: "none", // the full texts are above
    charset: "utf8",
    metafile: true,
    write: false,
  });
  const header = [
    `Made by tools/widget_modules from its sources: change those, not this file.`,
    `sources sha256 ${sources}`,
    ...licences(result.metafile).map((text) => `It contains ${text}`),
  ];
  return `/*!\n${header.join("\n\n").replaceAll("*/", "* /")}\n*/\n${result.outputFiles[0].text}`;
}

const sources = sourcesHash();
for (const name of MODULES) {
  const path = join(STATIC, `${name}.js`);
  const text = await bundled(name, sources);
  if (!process.argv.includes("--check")) {
    writeFileSync(path, text);
    console.log(`${name}.js ${Buffer.byteLength(text).toLocaleString("en-US")} bytes`);
  } else if (readFileSync(path, "utf8") !== text) {
    console.error(`${name}.js is not what its sources give. Run: npm run build`);
    process.exitCode = 1;
  }
}
