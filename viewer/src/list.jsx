// The responses, filtered and sorted; only the rows that are seen are in the page.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { number } from "./shades.js";

const ROW = 52; // pixels

export const EVERYTHING = { policy: "", correct: "", problem: "", shortest: "", longest: "", js: "", order: "problem" };

// Numbers of the responses that `filters` lets through, in their order.
export function filtered(study, filters) {
  const { columns } = study;
  const wanted = filters.problem.toLowerCase();
  const problems = study.problems.map(([id, text]) => !wanted || `${id} ${text}`.toLowerCase().includes(wanted));
  const within = (text, holds) => text === "" || holds(Number(text));
  const kept = [];
  for (let r = 0; r < study.count; r += 1) {
    const length = columns.length.codes[r];
    if (
      problems[columns.problem.codes[r]] &&
      (filters.policy === "" || (columns.policy.codes[r] === 1) === (filters.policy === "tuned")) &&
      (filters.correct === "" || (columns.correct.codes[r] === 1) === (filters.correct === "right")) &&
      within(filters.shortest, (bound) => length >= bound) &&
      within(filters.longest, (bound) => length <= bound) &&
      within(filters.js, (bound) => columns.highest_js.at(r) > bound)
    ) kept.push(r);
  }
  const by = { js: (r) => -(columns.highest_js.at(r) || 0), mean: (r) => -(columns.mean_js.at(r) || 0), length: (r) => -columns.length.codes[r] }[filters.order];
  return by ? kept.sort((a, b) => by(a) - by(b) || a - b) : kept;
}

export function VirtualRows({ count, height, row, focus }) {
  const element = useRef(null);
  const [seen, setSeen] = useState([0, 30]);
  const look = () => {
    if (!element.current) return;
    const { scrollTop, clientHeight } = element.current;
    setSeen([Math.max(0, Math.floor(scrollTop / height) - 8), Math.ceil((scrollTop + clientHeight) / height) + 8]);
  };
  useEffect(() => {
    const resized = new ResizeObserver(look);
    resized.observe(element.current);
    return () => resized.disconnect();
  }, []);
  useEffect(look, [count]);
  useEffect(() => {
    if (focus < 0) return;
    const { scrollTop, clientHeight } = element.current;
    if (focus * height < scrollTop || (focus + 1) * height > scrollTop + clientHeight) {
      element.current.scrollTop = focus * height - clientHeight / 3;
    }
  }, [focus]);
  const rows = [];
  for (let index = seen[0]; index < Math.min(seen[1], count); index += 1) {
    rows.push(<div key={index} class="row" style={{ top: `${index * height}px`, height: `${height}px` }}>{row(index)}</div>);
  }
  return (
    <div class="rows" ref={element} onScroll={look}>
      <div class="all" style={{ height: `${count * height}px` }}>{rows}</div>
    </div>
  );
}

export function Verdict({ correct }) {
  return <span class={correct ? "right" : "wrong"}>{correct ? "✓ right" : "✗ wrong"}</span>;
}

function Filters({ filters, onChange }) {
  const field = (name, props) => (
    <input type="number" value={filters[name]} onInput={(event) => onChange({ ...filters, [name]: event.target.value })} {...props} />
  );
  const choice = (name, options, words) => (
    <select aria-label={words} value={filters[name]} onChange={(event) => onChange({ ...filters, [name]: event.target.value })}>
      {options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
    </select>
  );
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <input type="search" placeholder="problem: text or id" aria-label="problem" value={filters.problem} onInput={(event) => onChange({ ...filters, problem: event.target.value })} />
      {choice("policy", [["", "both policies"], ["base", "base"], ["tuned", "tuned"]], "policy")}
      {choice("correct", [["", "right or wrong"], ["right", "right"], ["wrong", "wrong"]], "correct")}
      <label>tokens {field("shortest", { "aria-label": "at least so many tokens", min: 0 })} to {field("longest", { "aria-label": "at most so many tokens", min: 0 })}</label>
      <label>highest JS above {field("js", { "aria-label": "highest JS above", min: 0, step: "any" })}</label>
      {choice("order", [["problem", "by problem"], ["js", "highest JS first"], ["mean", "highest mean JS first"], ["length", "longest first"]], "order")}
    </form>
  );
}

export function ResponseList({ study, kept, filters, onFilter, chosen, onChoose }) {
  const place = useMemo(() => kept.indexOf(chosen), [kept, chosen]);
  const row = (index) => {
    const response = study.response(kept[index]);
    return (
      <button class={`response ${response.r === chosen ? "current" : ""}`} onClick={() => onChoose(response.r)}>
        <span><b>{study.problems[response.problem][0]}</b> {response.policy} {response.sample}</span>
        <Verdict correct={response.correct} />
        <span class="quiet">{response.length} tokens{response.stopped ? "" : ", cut"}</span>
        <span class="quiet">{Number.isNaN(response.highestJs) ? "not scored" : `JS up to ${number(response.highestJs)}`}</span>
      </button>
    );
  };
  return (
    <>
      <Filters filters={filters} onChange={onFilter} />
      <p class="count" role="status">{kept.length} of {study.count} responses</p>
      <VirtualRows count={kept.length} height={ROW} row={row} focus={place} />
    </>
  );
}
