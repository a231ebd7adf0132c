// Where the reader is, as the address says it: #problem=P&policy=tuned&sample=0&token=17&view=text&shade=js.
import { SHADES } from "./shades.js";

export const VIEWS = { text: "Response", both: "Base against tuned", branches: "Branches", search: "Search" };

export function written(study, { r, token, view, shade, sweep, query }) {
  const { problem, policy, sample } = study.response(r);
  const said = new URLSearchParams({ problem: study.problems[problem][0], policy, sample });
  if (token !== null) said.set("token", token);
  if (view !== "text") said.set("view", view);
  if (shade !== "js") said.set("shade", shade);
  if (view === "branches") said.set("sweep", study.sweeps[sweep].name);
  if (view === "search") said.set("query", query);
  return `#${said}`;
}

// What an address says, less what does not exist in this study.
export function read(study, hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const r = study.find(said.get("problem"), said.get("policy"), Number(said.get("sample")));
  const place = {};
  if (r >= 0) {
    const token = said.has("token") ? Number(said.get("token")) : null;
    Object.assign(place, { r, token: Number.isInteger(token) && token >= 0 && token < study.columns.length.at(r) ? token : null });
  }
  const sweep = study.sweeps.findIndex(({ name }) => name === said.get("sweep"));
  place.view = said.get("view") in VIEWS ? said.get("view") : "text";
  if (place.view === "branches" && study.sweeps.length === 0) place.view = "text";
  place.shade = said.get("shade") in SHADES ? said.get("shade") : "js";
  if (sweep >= 0) place.sweep = sweep;
  if (said.has("query")) place.query = said.get("query");
  return place;
}
