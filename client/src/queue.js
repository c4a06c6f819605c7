// The queue as a script: defines `NoDevent` before the server's script has loaded, so that its tag can
// have `async` or `defer` and no page waits for it. Inline it with a nonce, or serve it from the
// application. It makes no request.

import { installQueue } from "./page/install-queue.js";
import { reloadNextScript } from "./page/reload.js";

installQueue();
reloadNextScript();
