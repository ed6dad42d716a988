//! What the agent is allowed in every box.

/// What the agent keeps beyond what it lets commands have: it switches users, writes files for any of them, and ends
/// what they leave.
pub const AGENT_CAPABILITIES: [&str; 8] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];
