// Owns: creating elements. Text is always set as text, so data from the network never becomes markup.

/** @template {HTMLElement} [T=HTMLInputElement] @param {string} id @returns {T} */
export const $ = (id) => /** @type {T} */ (document.getElementById(id));

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {...(Node | string)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The hue of a name: always the same for the same name. @param {string} name */
export function hue(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + /** @type {number} */ (letter.codePointAt(0))) >>> 0;
  return (hash * 137) % 360;
}
