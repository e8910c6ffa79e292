//! What runs between fork and the agent's first exec, and nothing else.
