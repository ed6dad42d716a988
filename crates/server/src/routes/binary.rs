//! How OpenAPI shows what is no JSON.

use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};

/// Bytes as they are.
pub(crate) struct Binary;

impl utoipa::PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl utoipa::ToSchema for Binary {}

/// One server-sent event of a stream.
pub(crate) struct ServerSentEvent;

impl utoipa::PartialSchema for ServerSentEvent {
    fn schema() -> RefOr<Schema> {
        let text =
            |description: &str| Object::builder().schema_type(Type::String).description(Some(description));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("One server-sent event. Clients get any number of them, and comments between."))
            .property("event", text("Its name: a variant of `StreamEvent`, or the kind of an `Event`."))
            .property("data", text("One line of JSON: that variant's fields, or the `Event`."))
            .property("id", text("Where to go on: what a client sends as `Last-Event-ID`."))
            .required("event")
            .required("data")
            .into()
    }
}

impl utoipa::ToSchema for ServerSentEvent {}
