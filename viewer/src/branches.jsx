// How one response goes on when some of its tokens are drawn from the other policy: a row for each threshold, from none
// replaced to all drawn from the other; what a row has in common with the one above it is folded.
import { useMemo, useState } from "preact/hooks";
import { Verdict } from "./list.jsx";
import { number } from "./shades.js";
import { label, visible } from "./tokens.js";

const BEFORE = 24; // tokens shown before the first that differs from the row above
const MORE = 400;
const FLIPS = 60;

const DIRECTIONS = {
  forward: { primary: "base", other: "tuned", flip: "turn a wrong answer right", from: false },
  reverse: { primary: "tuned", other: "base", flip: "turn a right answer wrong", from: true },
};

export const directionOf = (sweep) => DIRECTIONS[sweep.name.split("-")[0]];

function thresholdWords(branch) {
  const { other } = directionOf(branch.sweep);
  if (branch.step === 0) return "nothing drawn from the other policy";
  if (branch.threshold === null) return `every token drawn from the ${other}`;
  const criterion = branch.sweep.name.split("-").slice(1).join("-").replaceAll("_", " ");
  return `from the ${other} where ${criterion} > ${number(branch.threshold)}`;
}

// Branches whose verdict differs from that of the same response with nothing replaced, fewest replaced tokens first.
export function flips(study, sweep) {
  const { from } = directionOf(study.sweeps[sweep]);
  const { branch_sweep, branch_step, branch_correct, branch_replaced } = study.columns;
  const found = [];
  let plain = false; // whether the unswitched response is judged as `from`
  for (let b = 0; b < study.branchCount; b += 1) {
    if (branch_sweep.codes[b] !== sweep) continue;
    const correct = branch_correct.codes[b] === 1;
    if (branch_step.codes[b] === 0) plain = correct === from;
    else if (plain && correct !== from && branch_replaced.codes[b] > 0) found.push(b);
  }
  const replaced = (b) => branch_replaced.codes[b];
  const fewest = new Map(); // one of each response: that with the fewest
  for (const b of found.sort((x, y) => replaced(x) - replaced(y) || x - y)) {
    const { problem, sample } = study.branch(b);
    const key = `${problem} ${sample}`;
    if (!fewest.has(key)) fewest.set(key, b);
  }
  return [...fewest.values()];
}

// Positions of the replaced tokens of branch b, each with the token that the primary would have drawn.
export function replacements(block, b) {
  const local = b - block.firstBranch;
  const found = new Map();
  for (let j = block.replacedStart[local]; j < block.replacedStart[local + 1]; j += 1) {
    found.set(block.columns.branch_at.at(j), block.columns.branch_primary.at(j));
  }
  return found;
}

const tokenOf = (block, b, i) => block.columns.branch_token.at(block.branchStart[b - block.firstBranch] + i);

function firstDifference(block, above, here, lengths) {
  const end = Math.min(...lengths);
  for (let i = 0; i < end; i += 1) if (tokenOf(block, above, i) !== tokenOf(block, here, i)) return i;
  return end;
}

function Row({ study, block, branch, above }) {
  const [shown, setShown] = useState(MORE);
  const [unfolded, setUnfolded] = useState(false);
  const replaced = useMemo(() => replacements(block, branch.b), [block, branch.b]);
  const { primary } = directionOf(branch.sweep);
  const differs = above ? firstDifference(block, above.b, branch.b, [above.length, branch.length]) : 0;
  const same = above && differs === branch.length && differs === above.length;
  const begin = unfolded || !above ? 0 : Math.max(0, differs - BEFORE);
  const end = same ? begin : Math.min(branch.length, begin + shown);
  const spans = [];
  for (let i = begin; i < end; i += 1) {
    const id = tokenOf(block, branch.b, i);
    const instead = replaced.get(i);
    const text = visible(study.vocabulary[id], id);
    if (instead === undefined) spans.push(<span key={i} class={`token ${above && i < differs ? "common" : ""}`}>{text}</span>);
    else {
      const words = label(study.vocabulary[instead], instead);
      spans.push(
        <span key={i} class="token replaced" title={`token ${i}: the ${primary} would have drawn ${words}`}>
          <s>{words}</s>{text}
        </span>,
      );
    }
  }
  return (
    <article class="branch">
      <header>
        <b>{thresholdWords(branch)}</b>
        <Verdict correct={branch.correct} />
        <span class="quiet">{branch.replaced} replaced of {branch.switched} switched, {branch.length} tokens, answer {branch.answer ?? "none"}</span>
      </header>
      <div class="text">
        {begin > 0 && !same && <button class="fold" onClick={() => { setUnfolded(true); setShown(differs + MORE); }}>{begin} tokens as above …</button>}
        {same ? <span class="quiet">the same response as above</span> : spans}
        {!same && end < branch.length && <button class="fold" onClick={() => setShown(shown + 4 * MORE)}>… {branch.length - end} more tokens</button>}
      </div>
    </article>
  );
}

function Flips({ study, sweep, onOpen }) {
  const found = useMemo(() => flips(study, sweep), [study, sweep]);
  const { flip } = directionOf(study.sweeps[sweep]);
  return (
    <details class="flips" open>
      <summary>{found.length} responses in which replaced tokens {flip}; fewest first</summary>
      <p>
        {found.slice(0, FLIPS).map((b) => {
          const branch = study.branch(b);
          return (
            <button key={b} onClick={() => onOpen(branch)}>
              {study.problems[branch.problem][0]}, sample {branch.sample}: {branch.replaced}
            </button>
          );
        })}
      </p>
    </details>
  );
}

export function Branches({ study, block, r, sweep, onSweep, onOpen }) {
  const response = study.response(r);
  const [first, end] = study.branchesOfProblem[response.problem];
  const samples = new Set();
  const rows = [];
  for (let b = first; b < end; b += 1) {
    if (study.columns.branch_sweep.codes[b] !== sweep) continue;
    const branch = study.branch(b);
    samples.add(branch.sample);
    if (branch.sample === response.sample) rows.push(branch);
  }
  return (
    <section class="branches">
      <p class="tabs" role="tablist">
        {study.sweeps.map(({ name }, number) => (
          <button key={name} role="tab" aria-selected={number === sweep} onClick={() => onSweep(number)}>
            {directionOf({ name }).primary} writes, {directionOf({ name }).other} steps in
          </button>
        ))}
      </p>
      <Flips study={study} sweep={sweep} onOpen={onOpen} />
      {rows.length === 0 && <p class="quiet">Sample {response.sample} was not cross-sampled; those that were: {[...samples].join(", ") || "none"}.</p>}
      {rows.map((branch, index) => (
        <Row key={branch.b} study={study} block={block} branch={branch} above={index ? rows[index - 1] : null} />
      ))}
    </section>
  );
}
