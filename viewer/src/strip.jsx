// The shaded column along a response, drawn by uPlot; the pointer and the chosen token are those of the text.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { SHADES } from "./shades.js";

const HEIGHT = 96;

function series(study, block, r, shade) {
  const { value } = SHADES[shade];
  const begin = block.start[r - block.first];
  const length = study.columns.length.at(r);
  const positions = Float64Array.from({ length }, (_, i) => i);
  const values = Array.from({ length }, (_, i) => {
    const of = value(block.columns, begin + i);
    return Number.isNaN(of) ? null : of;
  });
  return [positions, values];
}

export function Strip({ study, block, r, shade, chosen, hovered, onHover, onChoose, theme }) {
  const element = useRef(null);
  const plot = useRef(null);
  const now = useRef({});
  now.current = { chosen, onHover, onChoose };

  useEffect(() => {
    const holder = element.current;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px sans-serif" };
    const sparse = study.columns.length.at(r) <= 300;
    const drawChosen = (u) => {
      if (now.current.chosen === null) return;
      const x = Math.round(u.valToPos(now.current.chosen, "x", true));
      u.ctx.fillStyle = colour("--accent");
      u.ctx.fillRect(x - devicePixelRatio, u.bbox.top, 2 * devicePixelRatio, u.bbox.height);
    };
    const options = {
      width: holder.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: false }, y: { range: (u, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 0.01)] } },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      axes: [
        { ...axis, size: 22, values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")) },
        { ...axis, size: 44, splits: (u, index, low, high) => [Math.min(0, low), (Math.min(0, low) + high) / 2, high], values: (u, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(2)))) },
      ],
      series: [
        {},
        { stroke: colour("--shade"), width: 1, points: { show: sparse, size: 4, fill: colour("--shade") }, paths: uPlot.paths.bars({ size: [1, 3], align: 0 }), fill: colour("--shade") },
      ],
      hooks: {
        draw: [drawChosen],
        setCursor: [(u) => u.cursor.event && now.current.onHover(u.cursor.idx ?? null)],
      },
    };
    const made = new uPlot(options, series(study, block, r, shade), holder);
    made.over.addEventListener("click", () => made.cursor.idx != null && now.current.onChoose(made.cursor.idx, true));
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: holder.clientWidth, height: HEIGHT }));
    resized.observe(holder);
    return () => {
      resized.disconnect();
      made.destroy();
    };
  }, [block, r, shade, theme]);

  useEffect(() => plot.current.redraw(false), [chosen]);
  useEffect(() => {
    const left = hovered === null ? -10 : plot.current.valToPos(hovered, "x");
    plot.current.setCursor({ left, top: hovered === null ? -10 : 1 }, false);
  }, [hovered]);

  return <div class="strip" ref={element} role="img" aria-label={`${SHADES[shade].label} along the response`} />;
}
