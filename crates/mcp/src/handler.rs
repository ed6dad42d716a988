//! The protocol's requests: what this server is, its tools, its resources.

use agentkernel_service::Service;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::caller::Callers;
use crate::catalogue;
use crate::progress::Progress;
use crate::resources::Resources;
use crate::settings::McpSettings;
use crate::tools::Call;

/// What a model is told before it sees any tool.
const INSTRUCTIONS: &str = "agentkernel runs commands in isolated sandboxes, apart from the user's machine. Use \
sandbox_run for one command: it gets a fresh sandbox. For several commands that share files use sandbox_create, then \
sandbox_exec, sandbox_file_write and sandbox_file_read, and sandbox_remove in the end. Servers and long jobs: \
sandbox_exec_detach. A failing command is a normal result with its exit_code; an error means that it could not be run.";

/// One connection or session.
#[derive(Clone)]
pub struct Handler {
    service: Service,
    callers: Callers,
    settings: McpSettings,
}

impl Handler {
    pub(crate) fn new(service: Service, callers: Callers, settings: McpSettings) -> Self {
        Self { service, callers, settings }
    }

    fn resources(&self, context: &RequestContext<RoleServer>) -> Result<Resources, ErrorData> {
        Ok(Resources { service: self.service.clone(), caller: self.callers.of(&context.extensions)? })
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
            .with_server_info(Implementation::new("agentkernel", self.settings.version))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(catalogue::tools(self.settings.list_aliases)))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        catalogue::tools(true).into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name;
        let Some(verb) = catalogue::find(&name) else {
            return Err(ErrorData::invalid_params(
                format!("there is no tool {name:?}; see tools/list"),
                None,
            ));
        };
        let call = Call {
            tool: name.into_owned(),
            service: self.service.clone(),
            caller: self.callers.of(&context.extensions)?,
            progress: Progress::of(&context),
            links: knows_links(&context),
        };
        let work = call.answer(verb, request.arguments);
        let answer = if verb.ends_when_cancelled() {
            tokio::select! {
                biased;
                // The command ends with what is dropped here. Nobody waits for this answer.
                () = context.ct.cancelled() => return Err(ErrorData::internal_error("the request was cancelled", None)),
                answer = work => answer,
            }
        } else {
            work.await
        };
        answer.or_else(|failure| failure.into_answer()).map(CallToolResponse::Complete)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let after = request.and_then(|request| request.cursor);
        self.resources(&context)?.list(after.as_deref()).await
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(vec![Resources::template()]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let result = self.resources(&context)?.read(&request.uri).await?;
        Ok(ReadResourceResponse::Complete(result))
    }

    /// Clients of version 0.4 say `shutdown` before they close the connection.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        match request.method.as_str() {
            "shutdown" => Ok(CustomResult(serde_json::json!({}))),
            _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None)),
        }
    }
}

/// Links to resources are part of answers since 2025-06-18; older clients refuse what they don't know.
fn knows_links(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2025_06_18)
}
