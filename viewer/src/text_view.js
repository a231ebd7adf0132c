// A response as text, a span per token. Tokens are in the page only near the part that is seen: the text is laid out in
// passages, each filled when it comes near and emptied when it is far.
import { visible } from "./tokens.js";

const PASSAGE = 240; // tokens, at least; a passage ends at the next new line, at the latest after twice as many
const NEAR = "1200px";

// Positions where passages begin, and the end.
function passages(length, textAt) {
  const bounds = [0];
  let begun = 0;
  for (let i = 0; i < length; i += 1) {
    const long = i + 1 - begun;
    const text = textAt(i);
    if (long >= 2 * PASSAGE || (long >= PASSAGE && typeof text === "string" && text.includes("\n"))) {
      bounds.push(i + 1);
      begun = i + 1;
    }
  }
  if (bounds.at(-1) < length) bounds.push(length);
  return bounds;
}

// content: { length, tokenAt(i) -> id, textAt(i) -> string, bytes or null, classAt(i) -> shade, markAt(i) -> words or null }.
export class TextView {
  constructor(element, { onHover, onChoose }) {
    this.element = element;
    this.observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.visit(entry)), { rootMargin: NEAR });
    const positionOf = (event) => {
      const span = event.target.closest?.("[data-at]");
      return span ? Number(span.dataset.at) : null;
    };
    element.addEventListener("pointerover", (event) => onHover(positionOf(event)));
    element.addEventListener("pointerleave", () => onHover(null));
    // What is filled above a token that was jumped to moves it; it is held in view until the reader scrolls.
    this.held = null;
    for (const kind of ["wheel", "touchmove", "pointerdown"]) element.parentElement.addEventListener(kind, () => (this.held = null), { passive: true });
    element.addEventListener("click", (event) => {
      const position = positionOf(event);
      if (position !== null) onChoose(position);
    });
  }

  show(content) {
    this.observer.disconnect();
    this.content = content;
    this.chosen = null;
    this.held = null;
    this.bounds = passages(content.length, content.textAt);
    this.element.replaceChildren(
      ...this.bounds.slice(0, -1).map((begin, index) => {
        const passage = document.createElement("div");
        passage.className = "passage";
        passage.dataset.index = index;
        passage.style.minHeight = `${Math.ceil((this.bounds[index + 1] - begin) / 18) * 1.6}em`;
        this.observer.observe(passage);
        return passage;
      }),
    );
  }

  visit({ target, isIntersecting }) {
    const holds = this.held !== null && this.passageOf(this.held) === target;
    if (isIntersecting || holds) {
      this.fill(target);
      if (this.held !== null) this.spanAt(this.held)?.scrollIntoView({ block: "center" });
    } else if (target.childElementCount > 0) {
      target.style.minHeight = `${target.offsetHeight}px`;
      target.replaceChildren();
    }
  }

  fill(passage) {
    if (passage.childElementCount > 0) return;
    const index = Number(passage.dataset.index);
    const spans = [];
    for (let i = this.bounds[index]; i < this.bounds[index + 1]; i += 1) spans.push(this.span(i));
    passage.replaceChildren(...spans);
    passage.style.minHeight = "";
  }

  span(i) {
    const { tokenAt, textAt, classAt, markAt } = this.content;
    const span = document.createElement("span");
    const mark = markAt(i);
    span.className = `token ${classAt(i)}${mark ? " marked" : ""}${i === this.chosen ? " chosen" : ""}`;
    span.dataset.at = i;
    span.id = `${this.element.id}-${i}`;
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", i === this.chosen);
    if (mark) span.title = mark;
    span.textContent = visible(textAt(i), tokenAt(i));
    return span;
  }

  // Shade again, with the same tokens.
  reshade(content) {
    this.content = content;
    for (const passage of this.element.children) {
      if (passage.childElementCount > 0) {
        passage.replaceChildren();
        this.fill(passage);
      }
    }
  }

  choose(position, scroll) {
    const before = this.spanAt(this.chosen);
    before?.classList.remove("chosen");
    before?.setAttribute("aria-selected", false);
    this.chosen = position;
    if (position === null || position >= this.content.length) return;
    this.fill(this.passageOf(position));
    const span = this.spanAt(position);
    span.classList.add("chosen");
    span.setAttribute("aria-selected", true);
    this.element.setAttribute("aria-activedescendant", span.id);
    if (scroll) {
      this.held = position;
      span.scrollIntoView({ block: "center" });
    }
  }

  passageOf(position) {
    return this.element.children[this.bounds.findLastIndex((begin) => begin <= position)];
  }

  spanAt(position) {
    return position === null ? null : document.getElementById(`${this.element.id}-${position}`);
  }

  close() {
    this.observer.disconnect();
  }
}
