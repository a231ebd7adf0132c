// A response with its shaded tokens and, above it, the same column as a strip chart along the response.
import { useEffect, useId, useRef } from "preact/hooks";
import { SHADES, shadeClass } from "./shades.js";
import { Strip } from "./strip.jsx";
import { TextView } from "./text_view.js";

// What TextView shows of response r, whose problem's block is `block`.
function contentOf(study, block, r, shade, marks) {
  const { columns } = block;
  const { value, strength } = SHADES[shade];
  const begin = block.start[r - block.first];
  const tokenAt = (i) => columns.token.at(begin + i);
  return {
    length: study.columns.length.at(r),
    tokenAt,
    textAt: (i) => study.vocabulary[tokenAt(i)],
    classAt: (i) => shadeClass(strength(value(columns, begin + i))),
    markAt: (i) => marks?.get(i) ?? null,
  };
}

export function ResponseText({ study, block, r, shade, marks, chosen, jumped, hovered, onHover, onChoose, theme }) {
  const element = useRef(null);
  const view = useRef(null);
  const id = useId();
  const content = contentOf(study, block, r, shade, marks);

  const handlers = useRef({});
  handlers.current = { onHover, onChoose };
  useEffect(() => {
    view.current = new TextView(element.current, {
      onHover: (i) => handlers.current.onHover(i),
      onChoose: (i) => handlers.current.onChoose(i),
    });
    return () => view.current.close();
  }, []);
  useEffect(() => view.current.show(content), [block, r]);
  useEffect(() => view.current.reshade(content), [shade, marks]);
  const seen = useRef(0);
  useEffect(() => {
    view.current.choose(chosen, jumped !== seen.current);
    seen.current = jumped;
  }, [chosen, jumped, block, r]);

  return (
    <>
      <Strip study={study} block={block} r={r} shade={shade} chosen={chosen} hovered={hovered} onHover={onHover} onChoose={onChoose} theme={theme} />
      <div class="text" ref={element} id={id} tabIndex={0} role="listbox" aria-label={`tokens of the response, shaded by ${SHADES[shade].label}`} />
    </>
  );
}
