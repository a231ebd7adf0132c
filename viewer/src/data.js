// The page's data: blocks of typed arrays behind a JSON header (workflow/tokenshift/viewer/columns.py), read when needed.
// A block lies in the page, or in a file beside it, which is a script that hands over the same text.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
const UNMEASURED = 0xffff; // the last code of a column of rounded numbers
const KEPT = 6; // problems in memory

const arriving = new Map();
window.tokenshiftChunk = (name, text) => arriving.get(name)?.(text);

function textOf(name, folder) {
  const inPage = document.getElementById(name);
  if (inPage) return Promise.resolve(inPage.textContent);
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const file = `${folder}/${name}.js`;
    const done = (settle, value) => {
      arriving.delete(name);
      script.remove();
      settle(value);
    };
    arriving.set(name, (text) => done(resolve, text));
    script.onerror = () => done(reject, new Error(`${file} is not beside this page: copy the folder ${folder} with it`));
    script.src = file.split("/").map(encodeURIComponent).join("/");
    document.head.append(script);
  });
}

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

async function unpacked(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const headerLength = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerLength)));
  const start = 4 + headerLength;
  const columns = {};
  for (const [name, [type, offset, length, step]] of Object.entries(header.columns)) {
    columns[name] = new Column(new TYPES[type](buffer, start + offset, length), step);
  }
  return { ...header, columns };
}

// An array of codes; `step` is what one is worth, 0 where codes count or name something.
class Column {
  constructor(codes, step) {
    this.codes = codes;
    this.step = step;
  }

  // NaN where nothing was measured.
  at(i) {
    const code = this.codes[i];
    if (!this.step) return code;
    return code === UNMEASURED ? NaN : code * this.step;
  }
}

// Where each part begins in what lies one after another: one more entry than there are lengths.
export function starts(lengths) {
  const result = new Uint32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i += 1) result[i + 1] = result[i] + lengths[i];
  return result;
}

// Everything about a pair on a set of problems. Responses and branches (cross-samples) are numbered as in the index.
export class Study {
  static async read() {
    return new Study(await unpacked(document.getElementById("index").textContent));
  }

  constructor({ columns, ...described }) {
    Object.assign(this, described);
    this.columns = columns;
    this.folder = `${this.pair}-${this.set}`;
    this.count = columns.length.codes.length;
    this.start = starts(columns.length.codes); // of each response in the search block
    this.branchCount = columns.branch_length?.codes.length ?? 0;
    this.ofProblem = groups(columns.problem.codes, this.problems.length);
    this.branchesOfProblem = groups(columns.branch_problem?.codes ?? [], this.problems.length);
    this.blocks = new Map();
  }

  response(r) {
    const of = (name) => this.columns[name].at(r);
    return {
      r,
      problem: of("problem"),
      policy: of("policy") ? "tuned" : "base",
      sample: of("sample"),
      length: of("length"),
      correct: of("correct") === 1,
      stopped: of("stopped") === 1,
      highestJs: of("highest_js"),
      answer: this.answers[r],
    };
  }

  branch(b) {
    const of = (name) => this.columns[`branch_${name}`].at(b);
    const sweep = this.sweeps[of("sweep")];
    return {
      b,
      problem: of("problem"),
      sweep,
      sample: of("sample"),
      step: of("step"),
      threshold: sweep.thresholds[of("step")],
      length: of("length"),
      replaced: of("replaced"),
      switched: of("switched"),
      correct: of("correct") === 1,
      answer: this.branch_answers[b],
    };
  }

  find(problemId, policy, sample) {
    const problem = this.problems.findIndex(([id]) => id === problemId);
    const [first, end] = this.ofProblem[problem] ?? [0, 0];
    for (let r = first; r < end; r += 1) {
      if (this.columns.policy.codes[r] === (policy === "tuned" ? 1 : 0) && this.columns.sample.codes[r] === sample) return r;
    }
    return -1;
  }

  // The columns of a problem's responses and branches, with where the parts of each begin.
  async problem(p) {
    return this.block(`problem-${p}`, ({ columns }) => {
      const [first, end] = this.ofProblem[p];
      const [firstBranch, endBranch] = this.branchesOfProblem[p];
      const branchPart = (name) => this.columns[`branch_${name}`]?.codes.subarray(firstBranch, endBranch) ?? [];
      return {
        columns,
        first,
        start: starts(this.columns.length.codes.subarray(first, end)),
        candidates: { base: starts(columns.candidates_base.codes), tuned: starts(columns.candidates_tuned.codes) },
        firstBranch,
        branchStart: starts(branchPart("length")),
        replacedStart: starts(branchPart("replaced")),
      };
    });
  }

  search() {
    return this.block("search", ({ columns }) => columns);
  }

  async block(name, made) {
    const held = this.blocks.get(name) ?? unpackedBlock(name, this.folder).then(made);
    this.blocks.delete(name);
    this.blocks.set(name, held);
    held.catch(() => this.blocks.delete(name));
    const problems = [...this.blocks.keys()].filter((key) => key !== "search");
    for (const old of problems.slice(0, -KEPT)) this.blocks.delete(old);
    return held;
  }
}

const unpackedBlock = async (name, folder) => unpacked(await textOf(name, folder));

// First and end of each group in codes sorted by group.
function groups(codes, count) {
  const bounds = Array.from({ length: count }, () => [0, 0]);
  for (let i = 0; i < codes.length; i += 1) {
    if (i === 0 || codes[i] !== codes[i - 1]) bounds[codes[i]] = [i, i];
    bounds[codes[i]][1] = i + 1;
  }
  return bounds;
}
