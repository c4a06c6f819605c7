// Owns: the header that identifies this page in Turbo's requests, so that the application can exclude it from
// what the request causes (`except: :page` in the gem).

const page = /** @type {any} */ (globalThis);

/** @param {any} event */
const identify = ({ detail: { url, fetchOptions } }) => {
  // Other sites have no use for it.
  if (url.origin === location.origin) fetchOptions.headers["X-NoDevent-Page"] = page.NoDevent.pageId;
};

/** Adds the header to all requests of Turbo. Several scripts of a page may call it. */
export const identifyTurboRequests = () => page.document?.addEventListener("turbo:before-fetch-request", identify);
