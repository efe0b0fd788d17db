// The one file for a page: `fanwire.connect(…)` in a script without modules.

import { connect, matches } from './index.js';

Object.assign(globalThis, { fanwire: { connect, matches } });
