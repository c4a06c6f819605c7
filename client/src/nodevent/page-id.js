// Owns: the id of this page. It survives reconnects, so that the application can exclude the page that
// caused an event. It is not a secret.

const part = () => Math.random().toString(36).slice(2);

export const pageId = part() + part();
