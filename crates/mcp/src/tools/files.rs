//! Files inside a sandbox.

use agentkernel_api::WriteRequest;
use rmcp::model::{CallToolResult, ContentBlock, Resource};

use super::{Call, text_of};
use crate::address::Address;
use crate::answers::{FileList, FileRead, FileWritten, success};
use crate::arguments::{FileListArguments, FileReadArguments, FileWriteArguments, invalid};
use crate::failure::Failure;
use crate::file_part::{MOST_PART, file_part};

impl Call {
    /// `sandbox_file_write`.
    pub(super) async fn write_file(self, arguments: FileWriteArguments) -> Result<CallToolResult, Failure> {
        let (name, path) = (arguments.name.as_str(), text_of(&arguments.path));
        let request =
            WriteRequest { content: arguments.content, encoding: arguments.encoding, mode: arguments.mode };
        let bytes = self.service.write_content(&self.caller, name, &path, request).await?;
        let uri = Address::of_file(name, &path);
        let written = FileWritten { path, bytes, uri };
        let answer = success(format!("Wrote {bytes} bytes to {}.", written.path), &written);
        Ok(self.with_link(answer, &written.uri, &written.path, Some(bytes)))
    }

    /// `sandbox_file_read`.
    pub(super) async fn read_file(self, arguments: FileReadArguments) -> Result<CallToolResult, Failure> {
        if !(1..=MOST_PART).contains(&arguments.limit) {
            let why = format!("limit: {} is not between 1 and {MOST_PART}", arguments.limit);
            return Err(invalid("limit", why).into());
        }
        let (name, path) = (arguments.name.as_str(), text_of(&arguments.path));
        let part =
            file_part(&self.service, &self.caller, name, &path, arguments.offset, arguments.limit).await?;
        let read = FileRead::new(path, part, arguments.offset, arguments.encoding);
        let answer = success(read.text(), &read);
        let uri = Address::of_file(name, &read.path);
        Ok(self.with_link(answer, &uri, &read.path, read.size))
    }

    /// `sandbox_file_list`.
    pub(super) async fn list_files(self, arguments: FileListArguments) -> Result<CallToolResult, Failure> {
        let path = text_of(&arguments.path);
        let entries = self.service.list_dir(&self.caller, arguments.name.as_str(), &path).await?;
        let list = FileList::new(path, entries);
        Ok(success(list.text(), &list))
    }

    /// The file as a resource, for clients that know what that is.
    fn with_link(
        &self,
        mut answer: CallToolResult,
        uri: &str,
        path: &str,
        size: Option<u64>,
    ) -> CallToolResult {
        if self.links {
            let name = path.rsplit('/').next().unwrap_or(path);
            let mut link = Resource::new(uri, name);
            link.size = size;
            answer.content.push(ContentBlock::resource_link(link));
        }
        answer
    }
}
