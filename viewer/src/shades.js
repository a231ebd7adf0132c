// The columns by which tokens are shaded: what each means, and how strong its colour is.

const LN2 = Math.log(2);

export function number(value) {
  if (Number.isNaN(value)) return "not measured";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

export const percent = (p) => (p > 0 && p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);

// value: of position i in a problem's columns; strength: its colour, 0 to 1, below 0 in the second colour.
export const SHADES = {
  js: {
    label: "JS (nats)",
    value: (columns, i) => columns.js.at(i),
    strength: (value) => Math.sqrt(value / LN2),
    top: LN2,
  },
  js_nucleus: {
    label: "JS truncated as sampled (nats)",
    value: (columns, i) => columns.js_nucleus.at(i),
    strength: (value) => Math.sqrt(value / LN2),
    top: LN2,
  },
  entropy_base: {
    label: "entropy of the base (nats)",
    value: (columns, i) => columns.entropy_base.at(i),
    strength: (value) => Math.min(1, value / 3),
    top: 3,
  },
  entropy_tuned: {
    label: "entropy of the tuned (nats)",
    value: (columns, i) => columns.entropy_tuned.at(i),
    strength: (value) => Math.min(1, value / 3),
    top: 3,
  },
  logp_difference: {
    label: "log-probability, tuned less base (nats)",
    value: (columns, i) => columns.logp_tuned.at(i) - columns.logp_base.at(i),
    strength: (value) => Math.max(-1, Math.min(1, value / 4)),
    top: 4,
  },
  rank: {
    label: "rank in the base of the tuned policy's first choice",
    value: (columns, i) => columns.rank.at(i) || NaN,
    strength: (value) => Math.min(1, Math.log10(value) / 2),
    top: 100,
  },
};

// How many steps of colour there are on either side: style.css names each.
export const STEPS = 16;

export function shadeClass(strength) {
  if (Number.isNaN(strength)) return "unmeasured";
  const step = Math.round(Math.abs(strength) * STEPS);
  if (step === 0) return "";
  return strength < 0 ? `less${step}` : `more${step}`;
}
