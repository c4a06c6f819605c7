// Owns: reading the page's document. An element whose name is that of a property hides the property of the document,
// so everything here is called on the prototype. Workers and Node have no document.

const page = /** @type {any} */ (globalThis);

/** @param {string} selector @returns {any} the list of elements, undefined without a document */
export const elements = (selector) => page.Document?.prototype.querySelectorAll.call(page.document, selector);

/** The element of the script that runs; null in a module. @returns {any} */
export const currentScript = () => page.Document && Reflect.get(page.Document.prototype, "currentScript", page.document);
