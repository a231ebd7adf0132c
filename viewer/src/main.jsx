// The page: a list of responses, one of them as text with its strip chart, and what both policies would draw at a token.
import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { read, VIEWS, written } from "./address.js";
import { Branches, directionOf, replacements } from "./branches.jsx";
import { Candidates } from "./candidates.jsx";
import { Study } from "./data.js";
import { EVERYTHING, filtered, ResponseList, Verdict } from "./list.jsx";
import { ResponseText } from "./response_text.jsx";
import { Search } from "./search.jsx";
import { number, SHADES } from "./shades.js";
import { label } from "./tokens.js";

const KEYS = [
  ["← →", "previous, next token"],
  ["n p", "next, previous token of high JS"],
  ["j k", "next, previous response"],
  ["1 2 3 4", "response, base against tuned, branches, search"],
  ["o", "the other policy's response"],
  ["s", "shade by the next column"],
  ["/", "search for a token"],
  ["d", "dark or light"],
  ["?", "these keys"],
];

function useProblem(study, problem) {
  const [held, setHeld] = useState({ problem: -1 });
  useEffect(() => {
    let wanted = true;
    study.problem(problem).then(
      (block) => wanted && setHeld({ problem, block }),
      (error) => wanted && setHeld({ problem, failed: error.message }),
    );
    return () => (wanted = false);
  }, [study, problem]);
  return held.problem === problem ? held : {};
}

function useTheme() {
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const [theme, setTheme] = useState(preferred);
  document.documentElement.dataset.theme = theme;
  return [theme, () => setTheme((now) => (now === "dark" ? "light" : "dark"))];
}

// Where the branches of a response's own sweeps leave it: at each such token, what was drawn in its place.
function departures(study, block, r) {
  const response = study.response(r);
  const found = new Map();
  const [first, end] = study.branchesOfProblem[response.problem];
  const begin = block.start[r - block.first];
  for (let b = first; b < end; b += 1) {
    const branch = study.branch(b);
    if (branch.sample !== response.sample || directionOf(branch.sweep).primary !== response.policy || branch.replaced === 0) continue;
    const [[at, primary]] = replacements(block, b);
    if (at >= response.length || block.columns.token.at(begin + at) !== primary) continue;
    const drawn = block.columns.branch_token.at(block.branchStart[b - block.firstBranch] + at);
    const words = `${branch.sweep.name} above ${branch.threshold === null ? "nothing" : number(branch.threshold)}: ${label(study.vocabulary[drawn], drawn)}, and the answer is ${branch.correct ? "right" : "wrong"}`;
    found.set(at, found.has(at) ? `${found.get(at)}\n${words}` : `replaced under\n${words}`);
  }
  return found;
}

function Heading({ study, r, onOpen }) {
  const response = study.response(r);
  const [id, problem, answer] = study.problems[response.problem];
  const samples = [];
  const [first, end] = study.ofProblem[response.problem];
  for (let i = first; i < end; i += 1) if (study.response(i).policy === response.policy) samples.push(i);
  const other = study.find(id, response.policy === "base" ? "tuned" : "base", response.sample);
  return (
    <header class="heading">
      <p class="problem"><b>{id}</b> <bdi>{problem}</bdi> <span class="quiet">answer {answer}</span></p>
      <p>
        <b>{response.policy}</b> <span class="quiet">({study.models[response.policy]})</span>{" "}
        <label>sample{" "}
          <select aria-label="sample" value={r} onChange={(event) => onOpen(Number(event.target.value))}>
            {samples.map((i) => <option key={i} value={i}>{study.response(i).sample} {study.response(i).correct ? "✓" : "✗"}</option>)}
          </select>
        </label>{" "}
        <Verdict correct={response.correct} /> <span class="quiet">answer <bdi>{response.answer ?? "none"}</bdi>, {response.length} tokens{response.stopped ? "" : ", cut at the limit"}</span>{" "}
        {other >= 0 && <button onClick={() => onOpen(other)}>the {response.policy === "base" ? "tuned" : "base"}'s response</button>}
      </p>
    </header>
  );
}

function Both({ study, block, r, place, theme, onChoose, onHover }) {
  const response = study.response(r);
  const [id] = study.problems[response.problem];
  return (
    <div class="both">
      {["base", "tuned"].map((policy) => {
        const of = study.find(id, policy, response.sample);
        if (of < 0) return <p key={policy} class="quiet">The {policy} has no sample {response.sample}.</p>;
        const own = of === r;
        return (
          <section key={policy}>
            <h2>{policy} <Verdict correct={study.response(of).correct} /></h2>
            <ResponseText study={study} block={block} r={of} shade={place.shade} chosen={own ? place.token : null} jumped={place.jumped} hovered={null} onHover={(i) => onHover(of, i)} onChoose={(i) => onChoose(of, i)} theme={theme} />
          </section>
        );
      })}
    </div>
  );
}

function Viewer({ study }) {
  const [theme, switchTheme] = useTheme();
  const [filters, setFilters] = useState(EVERYTHING);
  const [place, setPlace] = useState(() => ({ r: 0, token: null, jumped: 1, view: "text", shade: "js", sweep: 0, query: "", ...read(study, location.hash) }));
  const [hovered, setHovered] = useState(null); // { r, token }
  const [help, setHelp] = useState(false);
  const [listOpen, setListOpen] = useState(false);
  const kept = useMemo(() => filtered(study, filters), [study, filters]);
  const { problem } = study.response(place.r);
  const { block, failed } = useProblem(study, problem);
  const marks = useMemo(() => (block ? departures(study, block, place.r) : null), [block, place.r]);

  const go = (changes) => {
    setHovered(null);
    setPlace((now) => ({ ...now, ...changes }));
  };
  const jump = (changes) => go({ ...changes, jumped: place.jumped + 1 });
  const open = (r, token = null) => {
    setListOpen(false);
    jump({ r, token, view: place.view === "search" ? "text" : place.view });
  };

  useEffect(() => {
    history.replaceState(null, "", written(study, place));
  }, [place]);
  useEffect(() => {
    const follow = () => {
      if (location.hash !== written(study, place)) jump(read(study, location.hash));
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  });

  const highTokens = (direction) => {
    if (!block) return;
    const begin = block.start[place.r - block.first];
    const { length } = study.response(place.r);
    let token = place.token ?? (direction > 0 ? -1 : length);
    do token += direction;
    while (token >= 0 && token < length && !(block.columns.js.at(begin + token) > study.high));
    if (token >= 0 && token < length) jump({ token });
  };
  const stepToken = (by) => {
    const { length } = study.response(place.r);
    const token = place.token === null ? 0 : Math.min(length - 1, Math.max(0, place.token + by));
    jump({ token });
  };
  const stepResponse = (by) => {
    if (kept.length === 0) return;
    const index = kept.indexOf(place.r);
    open(kept[index < 0 ? 0 : Math.min(kept.length - 1, Math.max(0, index + by))]);
  };
  const views = Object.keys(VIEWS).filter((view) => view !== "branches" || study.sweeps.length > 0);
  const otherPolicy = () => {
    const { policy, sample } = study.response(place.r);
    const other = study.find(study.problems[problem][0], policy === "base" ? "tuned" : "base", sample);
    if (other >= 0) open(other);
  };
  const shades = Object.keys(SHADES);
  const commands = {
    ArrowLeft: () => stepToken(-1),
    ArrowRight: () => stepToken(1),
    n: () => highTokens(1),
    p: () => highTokens(-1),
    j: () => stepResponse(1),
    k: () => stepResponse(-1),
    o: otherPolicy,
    s: () => go({ shade: shades[(shades.indexOf(place.shade) + 1) % shades.length] }),
    d: switchTheme,
    "?": () => setHelp(!help),
    Escape: () => setHelp(false),
    "/": () => {
      go({ view: "search" });
      setTimeout(() => document.getElementById("query")?.focus());
    },
    ...Object.fromEntries(Object.keys(VIEWS).map((view, index) => [String(index + 1), () => views.includes(view) && go({ view })])),
  };
  const current = useRef();
  current.current = commands;
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
      const command = current.current[event.key];
      if (command) {
        event.preventDefault();
        command();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);

  const seen = hovered ?? (place.token === null ? null : { r: place.r, token: place.token });
  const choose = (r, token) => go({ r, token });
  const text = () => (
    <ResponseText study={study} block={block} r={place.r} shade={place.shade} marks={marks} chosen={place.token} jumped={place.jumped} hovered={hovered?.token ?? null} onHover={(token) => setHovered(token === null ? null : { r: place.r, token })} onChoose={(token, scroll) => (scroll ? jump({ token }) : go({ token }))} theme={theme} />
  );
  const body = {
    text,
    both: () => <Both study={study} block={block} r={place.r} place={place} theme={theme} onChoose={choose} onHover={(r, token) => setHovered(token === null ? null : { r, token })} />,
    branches: () => <Branches study={study} block={block} r={place.r} sweep={place.sweep} onSweep={(sweep) => go({ sweep })} onOpen={(branch) => open(study.find(study.problems[branch.problem][0], directionOf(branch.sweep).primary, branch.sample))} />,
  };
  return (
    <div class={`viewer ${listOpen ? "list-open" : ""} ${place.view === "text" || place.view === "both" ? "" : "wide"}`}>
      <header class="top">
        <button class="list-button" aria-expanded={listOpen} onClick={() => setListOpen(!listOpen)}>☰ responses</button>
        <h1>{study.pair} <span class="quiet">on {study.set}, study {study.study}</span></h1>
        <nav class="tabs" role="tablist">
          {views.map((view) => <button key={view} role="tab" aria-selected={view === place.view} onClick={() => go({ view })}>{VIEWS[view]}</button>)}
        </nav>
        <label class="shade">shade{" "}
          <select aria-label="shade tokens by" value={place.shade} onChange={(event) => go({ shade: event.target.value })}>
            {shades.map((shade) => <option key={shade} value={shade}>{SHADES[shade].label}</option>)}
          </select>
        </label>
        <Scale shade={place.shade} />
        <button onClick={() => highTokens(1)} title={`next token with JS above ${number(study.high)}`}>next high JS</button>
        <button onClick={switchTheme}>{theme === "dark" ? "light" : "dark"}</button>
        <button aria-expanded={help} onClick={() => setHelp(!help)}>?</button>
      </header>
      {help && <dl class="help" role="dialog" aria-label="keys">{KEYS.map(([keys, words]) => <div key={keys}><dt>{keys}</dt><dd>{words}</dd></div>)}</dl>}
      <aside class="list"><ResponseList study={study} kept={kept} filters={filters} onFilter={setFilters} chosen={place.r} onChoose={(r) => open(r)} /></aside>
      <main>
        {place.view === "search" ? (
          <Search study={study} kept={kept} query={place.query} onQuery={(query) => go({ query })} onOpen={open} />
        ) : (
          <>
            <Heading study={study} r={place.r} onOpen={(r) => open(r)} />
            {failed && <p class="failed">{failed}</p>}
            {block ? body[place.view]() : !failed && <p class="quiet">Reading …</p>}
          </>
        )}
      </main>
      {block && (place.view === "text" || place.view === "both") && (
        <aside class="detail" aria-live="polite"><Candidates study={study} block={block} r={seen?.r ?? place.r} position={seen?.token ?? null} /></aside>
      )}
    </div>
  );
}

function Scale({ shade }) {
  const { top } = SHADES[shade];
  const low = shade === "logp_difference" ? `−${top}` : shade === "rank" ? "1" : "0";
  return <span class={`scale ${shade === "logp_difference" ? "diverging" : ""}`} aria-hidden="true"><span>{low}</span><i /><span>{number(top)}</span></span>;
}

async function start() {
  const app = document.getElementById("app");
  try {
    const study = await Study.read();
    document.title = `${study.pair} on ${study.set}: tokens`;
    app.replaceChildren();
    render(<Viewer study={study} />, app);
  } catch (error) {
    app.replaceChildren(Object.assign(document.createElement("p"), { className: "failed", textContent: `The data of this page could not be read: ${error.message}` }));
  }
}

if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
else start();
