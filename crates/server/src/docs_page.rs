//! `/docs`: the OpenAPI document as one page for people. No script, nothing from elsewhere.

use std::fmt::Write;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::openapi::document;

const STYLE: &str = include_str!("docs_page.css");

/// The page.
pub(crate) fn page() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| render(document()))
}

/// What the page may load: nothing but its own style, which is named by its digest.
pub(crate) fn content_security_policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let digest = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    })
}

fn render(document: &Value) -> String {
    let mut page = Page(String::with_capacity(256 * 1024));
    let info = &document["info"];
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width\"><title>agentkernel API</title><style>");
    page.raw(STYLE);
    page.raw("</style></head><body><nav><h1>agentkernel ");
    page.text(text(&info["version"]));
    page.raw("</h1><p><a href=\"/openapi.json\">openapi.json</a></p>");
    for (tag, operations) in by_tag(document) {
        page.raw("<h2>");
        page.text(text(&tag["name"]));
        page.raw("</h2><ul>");
        for operation in &operations {
            page.raw("<li><a href=\"#");
            page.text(&operation.id());
            page.raw("\"><b>");
            page.text(operation.method);
            page.raw("</b> ");
            page.text(operation.path);
            page.raw("</a></li>");
        }
        page.raw("</ul>");
    }
    page.raw("<p><a href=\"#schemas\">Schemas</a></p></nav><main>");
    page.paragraphs(text(&info["description"]));
    for (tag, operations) in by_tag(document) {
        page.raw("<h2>");
        page.text(text(&tag["name"]));
        page.raw("</h2>");
        page.paragraphs(text(&tag["description"]));
        for operation in &operations {
            page.operation(operation);
        }
    }
    page.schemas(&document["components"]["schemas"]);
    page.raw("</main></body></html>\n");
    page.0
}

/// One route.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    said: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> String {
        text(&self.said["operationId"]).to_owned()
    }

    /// A line to type.
    fn curl(&self) -> String {
        let mut line = "curl -sN".to_owned();
        if self.method != "get" {
            line.push_str(&format!(" -X {}", self.method.to_ascii_uppercase()));
        }
        if !self.said["security"].as_array().is_none_or(Vec::is_empty) {
            line.push_str(" -H \"Authorization: Bearer $AGENTKERNEL_API_KEY\"");
        }
        let body = &self.said["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            let example =
                if body["example"].is_null() { "{}".to_owned() } else { body["example"].to_string() };
            let quoted = example.replace('\'', "'\\''");
            line.push_str(&format!(" -H \"Content-Type: application/json\" -d '{quoted}'"));
        }
        let mut path = self.path.to_owned();
        let mut query = Vec::new();
        for parameter in self.said["parameters"].as_array().into_iter().flatten() {
            let name = text(&parameter["name"]);
            let example = match &parameter["example"] {
                Value::Null => name.to_ascii_uppercase(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if parameter["in"] == "path" {
                path = path.replace(&format!("{{{name}}}"), &example);
            } else if parameter["in"] == "query" && parameter["required"] == true {
                query.push(format!("{name}={example}"));
            }
        }
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{line} \"http://127.0.0.1:18888{path}{query}\"")
    }
}

/// The routes in the order of the tags.
fn by_tag(document: &Value) -> Vec<(&Value, Vec<Operation<'_>>)> {
    let tags = document["tags"].as_array().into_iter().flatten();
    let of_tag = |tag: &Value| {
        let paths = document["paths"].as_object().into_iter().flatten();
        let all = paths.flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations.map(move |(method, said)| Operation { method, path, said })
        });
        all.filter(|one| one.said["tags"].as_array().is_some_and(|tags| tags.contains(&tag["name"])))
            .collect()
    };
    tags.map(|tag| (tag, of_tag(tag))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// Escaped.
    fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '&' => self.raw("&amp;"),
                '"' => self.raw("&quot;"),
                other => self.0.push(other),
            }
        }
    }

    /// Text with `code` in it.
    fn prose(&mut self, prose: &str) {
        for (index, part) in prose.split('`').enumerate() {
            let code = index % 2 == 1;
            self.raw(if code { "<code>" } else { "" });
            self.text(part);
            self.raw(if code { "</code>" } else { "" });
        }
    }

    fn paragraphs(&mut self, prose: &str) {
        for paragraph in prose.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            self.raw("<p>");
            self.prose(paragraph);
            self.raw("</p>");
        }
    }

    fn operation(&mut self, operation: &Operation<'_>) {
        let said = operation.said;
        self.raw("<section id=\"");
        self.text(&operation.id());
        self.raw("\"><h3><b>");
        self.text(operation.method);
        self.raw("</b> ");
        self.text(operation.path);
        self.raw("</h3>");
        self.paragraphs(text(&said["summary"]));
        self.paragraphs(text(&said["description"]));
        let scopes = said["security"][0]["bearer"][0].as_str();
        self.paragraphs(
            &scopes.map_or("Needs no key.".to_owned(), |scope| format!("Needs scope `{scope}`.")),
        );
        self.raw("<pre class=\"curl\">");
        self.text(&operation.curl());
        self.raw("</pre>");
        let parameters = said["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        if !parameters.is_empty() {
            self.raw("<h4>Parameters</h4><table>");
            for parameter in parameters {
                let needed = if parameter["required"] == true { "required" } else { "optional" };
                let place = format!("{}, {needed}", text(&parameter["in"]));
                self.row(
                    text(&parameter["name"]),
                    &parameter["schema"],
                    &place,
                    text(&parameter["description"]),
                );
            }
            self.raw("</table>");
        }
        if let Some(content) = said["requestBody"]["content"].as_object() {
            self.raw("<h4>Body</h4><table>");
            for (media_type, body) in content {
                self.row(media_type, &body["schema"], "", "");
            }
            self.raw("</table>");
        }
        self.raw("<h4>Answers</h4><table>");
        for (status, response) in said["responses"].as_object().into_iter().flatten() {
            let schema = response["content"].as_object().into_iter().flatten().next();
            let (media_type, schema) =
                schema.map_or(("", &Value::Null), |(kind, body)| (kind.as_str(), &body["schema"]));
            self.row(status, schema, media_type, text(&response["description"]));
        }
        self.raw("</table></section>");
    }

    fn schemas(&mut self, schemas: &Value) {
        self.raw("<h2 id=\"schemas\">Schemas</h2>");
        for (name, schema) in schemas.as_object().into_iter().flatten() {
            self.raw("<section id=\"schema-");
            self.text(name);
            self.raw("\"><h3>");
            self.text(name);
            self.raw("</h3>");
            self.paragraphs(text(&schema["description"]));
            if let Some(fields) = schema["properties"].as_object() {
                let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
                self.raw("<table>");
                for (field, kind) in fields {
                    let needed =
                        if required.iter().any(|one| one == field) { "required" } else { "optional" };
                    self.row(field, kind, needed, text(&kind["description"]));
                }
                self.raw("</table>");
            } else {
                self.raw("<p>");
                self.kind(schema);
                self.raw("</p>");
            }
            self.raw("</section>");
        }
    }

    fn row(&mut self, name: &str, schema: &Value, place: &str, description: &str) {
        self.raw("<tr><td><code>");
        self.text(name);
        self.raw("</code></td><td>");
        self.kind(schema);
        self.raw("</td><td>");
        self.text(place);
        self.raw("</td><td>");
        self.prose(description);
        self.raw("</td></tr>");
    }

    /// The type in a few words.
    fn kind(&mut self, schema: &Value) {
        if let Some(name) = text(&schema["$ref"]).rsplit('/').next().filter(|name| !name.is_empty()) {
            self.raw("<a href=\"#schema-");
            self.text(name);
            self.raw("\">");
            self.text(name);
            self.raw("</a>");
            return;
        }
        let choices = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|word| schema[word].as_array());
        if let Some(choices) = choices {
            for (index, choice) in choices.iter().enumerate() {
                self.raw(if index > 0 { " or " } else { "" });
                self.kind(choice);
            }
            return;
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(|value| format!("`{}`", text(value))).collect();
            self.prose(&values.join(", "));
            return;
        }
        match &schema["type"] {
            Value::Array(kinds) => {
                let kinds: Vec<&str> = kinds.iter().map(text).collect();
                self.text(&kinds.join(" or "));
            }
            kind => self.text(text(kind)),
        }
        if !schema["items"].is_null() {
            self.raw(" of ");
            self.kind(&schema["items"]);
        }
        for (word, sign) in [("minimum", "\u{2265}"), ("maximum", "\u{2264}"), ("pattern", "~")] {
            if !schema[word].is_null() {
                let limit = schema[word].as_str().map_or_else(|| schema[word].to_string(), str::to_owned);
                // Writing into a String can't fail.
                if write!(self.0, " {sign} ").is_ok() {
                    self.text(&limit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_route_and_loads_nothing() {
        let page = page();
        for (path, _) in document()["paths"].as_object().unwrap() {
            assert!(page.contains(path.as_str()), "{path}");
        }
        for bad in ["<script", "src=", "http://fonts", "@import", "url(", "style=\""] {
            assert!(!page.contains(bad), "{bad}");
        }
        assert!(!page.contains("</code><code>"));
    }

    #[test]
    fn what_is_said_is_escaped() {
        let mut page = Page(String::new());
        page.prose("a <b> & `<c>`");
        assert_eq!(page.0, "a &lt;b&gt; &amp; <code>&lt;c&gt;</code>");
    }

    #[test]
    fn the_style_is_named_by_its_digest() {
        assert!(content_security_policy().starts_with("default-src 'none'; style-src 'sha256-"));
    }
}
