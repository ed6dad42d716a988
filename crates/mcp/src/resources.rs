//! Resources: the sandboxes, and the files in them.

use agentkernel_service::{Caller, Service};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use crate::address::{Address, AddressError, FILE_TEMPLATE};
use crate::answers::one_line;
use crate::failure::Failure;
use crate::file_part::{MOST_PART, file_part};

/// The most sandboxes of one page.
const PAGE: usize = 500;

/// What `resources/*` is answered from.
pub(crate) struct Resources {
    pub(crate) service: Service,
    pub(crate) caller: Caller,
}

impl Resources {
    /// How the address of a file is made.
    pub(crate) fn template() -> ResourceTemplate {
        ResourceTemplate::new(FILE_TEMPLATE, "sandbox file")
            .with_title("A file in a sandbox")
            .with_description("A file of a running sandbox, at most 1 MiB. path is absolute inside, without its first slash.")
    }

    /// The sandboxes whose names come after `after`, which is a page's last.
    pub(crate) async fn list(&self, after: Option<&str>) -> Result<ListResourcesResult, ErrorData> {
        let mut sandboxes =
            self.service.list(&self.caller, &[]).await.map_err(|error| Failure::from(error).into_error())?;
        sandboxes.sort_by(|one, other| one.name.cmp(&other.name));
        sandboxes.retain(|sandbox| after.is_none_or(|after| sandbox.name.as_str() > after));
        let more = sandboxes.len() > PAGE;
        sandboxes.truncate(PAGE);
        let next = sandboxes.last().filter(|_| more).map(|sandbox| sandbox.name.clone());
        let resources = sandboxes.iter().map(|sandbox| {
            Resource::new(Address::of_sandbox(&sandbox.name), sandbox.name.clone())
                .with_description(one_line(sandbox))
                .with_mime_type("application/json")
        });
        let mut page = ListResourcesResult::with_all_items(resources.collect());
        page.next_cursor = next;
        Ok(page)
    }

    /// A sandbox's description, or a file's content.
    pub(crate) async fn read(&self, uri: &str) -> Result<ReadResourceResult, ErrorData> {
        let contents = match Address::parse(uri).map_err(wrong_address)? {
            Address::Sandbox(name) => self.sandbox(uri, name.as_str()).await,
            Address::File(name, path) => self.file(uri, name.as_str(), &path).await,
        };
        Ok(ReadResourceResult::new(vec![contents.map_err(Failure::into_error)?]))
    }

    async fn sandbox(&self, uri: &str, name: &str) -> Result<ResourceContents, Failure> {
        let sandbox = self.service.info(&self.caller, name).await?;
        // Plain data: there is nothing in it that JSON can't say.
        let text = serde_json::to_string_pretty(&sandbox).unwrap_or_default();
        Ok(ResourceContents::text(text, uri).with_mime_type("application/json"))
    }

    async fn file(&self, uri: &str, name: &str, path: &str) -> Result<ResourceContents, Failure> {
        let part = file_part(&self.service, &self.caller, name, path, 0, MOST_PART).await?;
        if !part.at_end {
            let why =
                format!("{path} has more than {MOST_PART} bytes; read it in parts with sandbox_file_read");
            return Err(ErrorData::invalid_params(why, None).into());
        }
        Ok(match String::from_utf8(part.bytes) {
            Ok(text) => ResourceContents::text(text, uri),
            Err(error) => ResourceContents::blob(STANDARD.encode(error.as_bytes()), uri)
                .with_mime_type("application/octet-stream"),
        })
    }
}

fn wrong_address(error: AddressError) -> ErrorData {
    ErrorData::invalid_params(error.to_string(), Some(serde_json::json!({ "field": "uri" })))
}
