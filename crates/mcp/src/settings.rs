//! What the owner of the server decides.

/// How the server presents itself.
#[derive(Debug, Clone)]
pub struct McpSettings {
    /// The program's version.
    pub version: &'static str,
    /// Whether `tools/list` names tools by their second names as well. Calling them by those works always.
    pub list_aliases: bool,
}
