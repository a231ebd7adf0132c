// Every place where a token occurs, in all responses, those of highest JS first.
import { useEffect, useMemo, useState } from "preact/hooks";
import { VirtualRows, Verdict } from "./list.jsx";
import { number } from "./shades.js";
import { label } from "./tokens.js";

const ROW = 46; // pixels
const AROUND = 9; // tokens of context on either side
const LISTED = 2000;

// Ids of the tokens that are `query`, or, unless `whole`, contain it; spaces around a token do not count.
export function matching(vocabulary, query, whole) {
  const wanted = query.trim().toLowerCase() || query;
  const matches = new Uint8Array(vocabulary.length);
  let count = 0;
  vocabulary.forEach((token, id) => {
    if (typeof token !== "string") return;
    const text = token.toLowerCase();
    if (whole ? (text.trim() || text) === wanted : text.includes(wanted)) {
      matches[id] = 1;
      count += 1;
    }
  });
  return { matches, count };
}

// The response that place i of the search block belongs to.
function responseAt(starts, i) {
  let [low, high] = [0, starts.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= i) low = middle;
    else high = middle;
  }
  return low;
}

// Places of the matching tokens in the responses `kept`, by falling JS; at most LISTED of `total`.
function occurrences(study, columns, matches, kept) {
  const wanted = new Uint8Array(study.count);
  for (const r of kept) wanted[r] = 1;
  const places = [];
  for (let r = 0; r < study.count; r += 1) {
    if (!wanted[r]) continue;
    for (let i = study.start[r]; i < study.start[r + 1]; i += 1) if (matches[columns.token.codes[i]]) places.push(i);
  }
  const js = (i) => columns.js.at(i) || 0;
  const order = Uint32Array.from(places).sort((a, b) => js(b) - js(a) || a - b);
  return { total: order.length, places: order.subarray(0, LISTED) };
}

export function Search({ study, kept, query, onQuery, onOpen }) {
  const [columns, setColumns] = useState(null);
  const [failed, setFailed] = useState("");
  const [whole, setWhole] = useState(false);
  useEffect(() => {
    study.search().then(setColumns, (error) => setFailed(error.message));
  }, [study]);
  const found = useMemo(() => {
    if (!columns || query === "") return null;
    const { matches, count } = matching(study.vocabulary, query, whole);
    return { count, ...occurrences(study, columns, matches, kept) };
  }, [columns, query, whole, kept]);

  const row = (index) => {
    const i = found.places[index];
    const r = responseAt(study.start, i);
    const response = study.response(r);
    const position = i - study.start[r];
    const words = (from, to) => {
      const parts = [];
      for (let j = Math.max(study.start[r], from); j < Math.min(study.start[r + 1], to); j += 1) {
        parts.push(label(study.vocabulary[columns.token.codes[j]], columns.token.codes[j]).replace(/^␣/, " "));
      }
      return parts.join("");
    };
    return (
      <button class="occurrence" onClick={() => onOpen(r, position)}>
        <span class="context"><bdi>{words(i - AROUND, i)}</bdi><mark>{words(i, i + 1)}</mark><bdi>{words(i + 1, i + 1 + AROUND)}</bdi></span>
        <span class="quiet">JS {number(columns.js.at(i))}</span>
        <span class="quiet">{study.problems[response.problem][0]} {response.policy} {response.sample}, token {position} <Verdict correct={response.correct} /></span>
      </button>
    );
  };
  return (
    <section class="search">
      <form onSubmit={(event) => event.preventDefault()}>
        <input id="query" type="search" placeholder="token, such as: wait" aria-label="token to search for" value={query} onInput={(event) => onQuery(event.target.value)} />
        <label><input type="checkbox" checked={whole} onChange={(event) => setWhole(event.target.checked)} /> whole token</label>
      </form>
      {failed && <p class="failed">{failed}</p>}
      {!columns && !failed && <p class="quiet">Reading all responses …</p>}
      {found && (
        <p class="count" role="status">
          {found.total} places of {found.count} tokens of the vocabulary, in the {kept.length} responses that the filters let through
          {found.total > LISTED ? `; the ${LISTED} of highest JS are listed` : ""}
        </p>
      )}
      {found && <VirtualRows key={`${query} ${whole}`} count={found.places.length} height={ROW} row={row} focus={-1} />}
    </section>
  );
}
