/** The page: what is drawn and what can be dragged. */

import { decode } from "./address.js";
import { answers } from "./answers.js";
import { PRESETS } from "./presets.js";
import { sinkhorn } from "./sinkhorn.js";
import { spaceOf } from "./spaces.js";

/** Shows the state that the address holds. */
function show() {
  const { state, message } = decode(location.hash, PRESETS[0].state);
  const space = spaceOf(state.space);
  const { value: emd } = answers(space, state.p, state.q, state.rho, state.gauge);
  const { status } = sinkhorn(space, state.p, state.q, state);
  document.querySelector("main").textContent = `${message} EMD: ${emd}, Sinkhorn: ${status}`;
}

show();
