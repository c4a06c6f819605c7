// Types of the queue, which defines the globals of `nodevent/script` before that script has loaded.

/// <reference path="./script.d.ts" />
