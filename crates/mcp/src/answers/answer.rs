//! A tool's answer, as the protocol has it.

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde::Serialize;

/// Text and fields of one success.
pub(crate) fn success(text: String, fields: &impl Serialize) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    // Plain data: there is nothing in it that JSON can't say.
    result.structured_content = serde_json::to_value(fields).ok();
    result
}

/// Why a tool could not do it. Carries no fields: those of an error are not the tool's output, which clients check
/// against its schema. The code is in the text, and in `_meta` for programs.
pub(crate) fn failure(message: &str, code: &str) -> CallToolResult {
    let mut meta = MetaObject::new();
    meta.insert("agentkernel/code".to_owned(), code.into());
    CallToolResult::error(vec![ContentBlock::text(format!("Error: {message} [{code}]"))])
        .with_meta(Some(meta))
}
