// What both policies would draw at one position, side by side, and what moved between them.
import { number, percent } from "./shades.js";
import { label } from "./tokens.js";

function listed(columns, starts, policy, i) {
  const found = new Map();
  for (let j = starts[policy][i]; j < starts[policy][i + 1]; j += 1) {
    found.set(columns[`ids_${policy}`].at(j), Math.exp(columns[`logps_${policy}`].at(j)));
  }
  return found;
}

// Every listed token with its probability in both policies, undefined where the list ends above it.
function candidates(block, i) {
  const { columns } = block;
  const base = listed(columns, block.candidates, "base", i);
  const tuned = listed(columns, block.candidates, "tuned", i);
  const drawn = columns.token.at(i);
  if (!Number.isNaN(columns.logp_base.at(i))) {
    base.set(drawn, Math.exp(columns.logp_base.at(i)));
    tuned.set(drawn, Math.exp(columns.logp_tuned.at(i)));
  }
  const ids = [...new Set([...base.keys(), ...tuned.keys()])];
  const most = (id) => Math.max(base.get(id) ?? 0, tuned.get(id) ?? 0);
  return ids.sort((a, b) => most(b) - most(a)).map((id) => ({ id, base: base.get(id), tuned: tuned.get(id), drawn: id === drawn }));
}

function Bar({ p, side }) {
  const width = { width: `${100 * (p ?? 0)}%` };
  return (
    <td class={`bar ${side}`}>
      <span class="fill" style={width} />
      <span class="share">{p === undefined ? "below the list" : percent(p)}</span>
    </td>
  );
}

export function Candidates({ study, block, r, position }) {
  if (position === null) return <p class="quiet">Point at a token, or choose one with the arrow keys.</p>;
  const i = block.start[r - block.first] + position;
  const { columns } = block;
  const at = (name) => columns[name].at(i);
  const token = study.vocabulary[at("token")];
  if (Number.isNaN(at("js"))) {
    return <p class="quiet">Token {position}, <code class="token">{label(token, at("token"))}</code>, was not scored.</p>;
  }
  const rows = candidates(block, i);
  const gained = rows.reduce((sum, { base, tuned }) => sum + Math.max(0, (tuned ?? 0) - (base ?? 0)), 0);
  const { temperature, top_p } = study.truncation;
  const facts = [
    ["JS", `${number(at("js"))} nats; ${number(at("js_nucleus"))} as sampled (temperature ${temperature}, top-p ${top_p})`],
    ["moved mass", `${percent(gained)} of the probability goes to tokens that gain, of those listed`],
    ["outside the other's nucleus", `${percent(at("mass_base_base_only"))} of the base, ${percent(at("mass_tuned_tuned_only"))} of the tuned`],
    ["entropy", `${number(at("entropy_base"))} nats base, ${number(at("entropy_tuned"))} tuned`],
    ["this token's log-probability", `${number(at("logp_base"))} base, ${number(at("logp_tuned"))} tuned`],
    ["the tuned policy's first choice", at("rank") === 1 ? "is the base's first choice too" : `has rank ${at("rank")} in the base`],
  ];
  return (
    <>
      <h2>
        Token {position}: <code class="token">{label(token, at("token"))}</code>
      </h2>
      <table class="candidates">
        <thead>
          <tr><th class="base">base</th><th>token</th><th class="tuned">tuned</th><th>change</th></tr>
        </thead>
        <tbody>
          {rows.map(({ id, base, tuned, drawn }) => (
            <tr key={id} class={drawn ? "drawn" : ""}>
              <Bar p={base} side="base" />
              <td class="name"><code class="token" title={drawn ? "the response's token" : undefined}>{label(study.vocabulary[id], id)}</code></td>
              <Bar p={tuned} side="tuned" />
              <td class="change">{base === undefined || tuned === undefined ? "" : `${tuned >= base ? "+" : "−"}${(100 * Math.abs(tuned - base)).toFixed(1)}`}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <dl class="facts">
        {facts.map(([name, words]) => (
          <div key={name}><dt>{name}</dt><dd>{words}</dd></div>
        ))}
      </dl>
    </>
  );
}
