//! The OpenAPI 3.1 document of the HTTP interface, made of the routes as they are declared. OpenAPI 3.1's schemas are JSON
//! Schema 2020-12 (<https://spec.openapis.org/oas/v3.1.1>), which is what the types' schemas are.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::http::failure::Failure;
use crate::http::route::{Kind, Operation, Route, Routes, SchemaOf};
use crate::identity::access::Access;

/// Where the types of answers are.
const COMPONENTS: &str = "/components/schemas";
/// The codes that every route's problems may have.
const ALWAYS: [&str; 9] =
    ["bad-request", "unauthenticated", "forbidden", "other-host", "other-origin", "too-many-requests", "too-slow", "internal", "unavailable"];
/// Those of one status, under the name of their response.
const TOGETHER: (&str, [&str; 2]) = ("forbidden", ["forbidden", "other-origin"]);
/// The statuses that a command's refusal may have.
const REFUSALS: [u16; 4] = [404, 409, 412, 422];
/// Those of a route that takes a body.
const OF_BODIES: [&str; 2] = ["too-large", "not-json"];

/// The document.
pub fn document(title: &str, version: &str, routes: &Routes) -> Value {
    let mut answers = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.definitions_path = COMPONENTS.into()).into_generator();
    let mut paths: Map<String, Value> = Map::new();
    let mut tags = BTreeSet::new();
    for route in routes.iter() {
        tags.insert(route.operation.tag);
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut answers);
    }
    let mut schemas = answers.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": title,
            "version": version,
            "description": "Commands are written durably before they are answered, and may be repeated under their Idempotency-Key. \
                Reads are of views; a read that carries the Daybook-Position of an answer is at least as fresh as that answer.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": tags.into_iter().map(|tag| json!({ "name": tag, "description": about(tag) })).collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": schemas, "parameters": parameters(), "headers": headers(), "responses": shared(), "securitySchemes": { "bearer": bearer() } },
    })
}

fn about(tag: &str) -> String {
    match tag {
        "platform" => "Health, documents, and what became of commands.".to_owned(),
        "operators" => "What operators look at and settle.".to_owned(),
        service => format!("The service {service}."),
    }
}

fn operation(route: &Route, answers: &mut SchemaGenerator) -> Value {
    let Route { method, path, operation: said, .. } = route;
    let id: Vec<String> = path.split(['/', '{', '}', '*', '.']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut shown = json!({
        "operationId": format!("{}-{}", method.as_str().to_ascii_lowercase(), if id.is_empty() { "index".to_owned() } else { id.join("-") }),
        "tags": [said.tag],
        "summary": said.summary,
        "parameters": taken(path, said),
        "responses": responses(said, answers),
    });
    let about = if said.description.is_empty() { String::new() } else { format!("{}\n\n", said.description) };
    shown["description"] = format!("{about}Who may: {}", route.access.words()).into();
    if route.access == Access::Anyone {
        shown["security"] = json!([]);
    }
    if let Some(body) = said.body {
        shown["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": if said.any_case { in_any_case(body) } else { given(body) } } } });
        if let Some(example) = &said.example {
            shown["requestBody"]["content"]["application/json"]["example"] = example.clone();
        }
    }
    shown
}

/// The schema of what callers give, whole in its place.
fn given(of: SchemaOf) -> Schema {
    let mut schemas = SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = of(&mut schemas);
    RecursiveTransform(closed).transform(&mut schema);
    schema
}

/// The same where names may be in any letter case, with or without underscores: as no schema can say.
fn in_any_case(of: SchemaOf) -> Schema {
    let mut schema = given(of);
    for part in ["additionalProperties", "required"] {
        schema.remove(part);
    }
    schema.insert("description".to_owned(), "Names may be in any letter case, with or without underscores.".into());
    schema
}

/// An object has no fields but those that are named: others are refused.
fn closed(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

/// The parameters of a route: of its path, its query and its headers.
fn taken(path: &str, said: &Operation) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| name.trim_start_matches('*'));
    let schema = said.path.map(given).map(Value::from).unwrap_or_default();
    let parts: Vec<Value> = schema.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![schema.clone()]);
    let mut all: Vec<Value> = names
        .zip(parts)
        .map(|(name, mut schema)| {
            let more = said.parts.iter().find(|(known, ..)| *known == name);
            if let Some((.., Some(pattern))) = more {
                schema["pattern"] = (*pattern).into();
            }
            let mut part = json!({ "name": name, "in": "path", "required": true, "schema": schema });
            if let Some((_, example, _)) = more {
                part["example"] = if part["schema"]["type"] == "integer" { example.parse::<u64>().map_or(Value::Null, Value::from) } else { (*example).into() };
            }
            part
        })
        .collect();
    if let Some(query) = said.query {
        let schema = Value::from(given(query));
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut of = of.clone();
            let description = of.as_object_mut().and_then(|of| of.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "required": required.contains(&json!(name)), "schema": present(of) });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            all.push(parameter);
        }
    }
    let headers: &[&str] = match said.kind {
        Kind::Plain => &[],
        Kind::Read => &["Position", "Prefer"],
        Kind::Row => &["Position", "Prefer", "IfMatch", "IfNoneMatch"],
        Kind::Command => &["IdempotencyKey", "Prefer", "IfMatch", "IfNoneMatchAny", "OccurredAt", "Actor", "Traceparent"],
    };
    all.extend(headers.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })));
    all
}

/// A parameter's schema: one that is not there is not written, and never null.
fn present(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type").filter(|types| types.is_array()) {
        let some = types.as_array().and_then(|types| types.iter().find(|name| *name != "null").cloned());
        *types = some.unwrap_or_default();
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("default");
    }
    schema
}

fn responses(said: &Operation, answers: &mut SchemaGenerator) -> Map<String, Value> {
    let mut all = Map::new();
    for (status, answer) in &said.answers {
        let mut shown = json!({ "description": answer.what });
        if let Some((media, of)) = answer.body {
            shown["content"] = json!({ media: { "schema": of(answers) } });
        }
        let headers: &[&str] = match said.kind {
            Kind::Plain => &[],
            Kind::Read => &["Daybook-Position"],
            Kind::Row => &["Daybook-Position", "ETag"],
            Kind::Command if *status == 202 => &["Location"],
            Kind::Command => &["Daybook-Position", "ETag", "Location"],
        };
        let headers: Map<String, Value> = headers.iter().map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))).collect();
        if !headers.is_empty() {
            shown["headers"] = headers.into();
        }
        all.insert(status.to_string(), shown);
    }
    let bodies = if said.body.is_some() { OF_BODIES.as_slice() } else { &[] };
    let mut problems: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
    for code in ALWAYS.iter().chain(bodies).chain(&said.codes) {
        problems.entry(Failure::status_of(code).as_u16()).or_default().insert(code);
    }
    if said.any_refusal {
        problems.extend(REFUSALS.map(|status| (status, BTreeSet::new())));
    }
    for (status, codes) in problems {
        let status = status.to_string();
        let codes: Vec<&str> = codes.into_iter().collect();
        let open = said.any_refusal && REFUSALS.iter().any(|refusal| refusal.to_string() == status);
        match (all.get_mut(&status), shared_name(&codes)) {
            (Some(shown), _) => shown["content"]["application/problem+json"] = json!({ "schema": of_codes(if open { &[] } else { &codes }) }),
            (None, Some(name)) if !open => drop(all.insert(status, json!({ "$ref": format!("#/components/responses/{name}") }))),
            (None, _) => drop(all.insert(status, a_problem(if open { &[] } else { &codes }))),
        }
    }
    all
}

/// The schema of a problem with one of these codes, or with any.
fn of_codes(codes: &[&str]) -> Value {
    let any = json!({ "$ref": "#/components/schemas/Problem" });
    if codes.is_empty() { any } else { json!({ "allOf": [any, { "properties": { "code": { "enum": codes } } }] }) }
}

fn a_problem(codes: &[&str]) -> Value {
    let description = if codes.is_empty() { "A problem (RFC 9457): a refusal".to_owned() } else { format!("A problem (RFC 9457): {}", codes.join(", ")) };
    json!({ "description": description, "content": { "application/problem+json": { "schema": of_codes(codes) } } })
}

/// The name of a response that many routes have: that of its one code.
fn shared_name<'c>(codes: &[&'c str]) -> Option<&'c str> {
    if codes == TOGETHER.1 {
        return Some(TOGETHER.0);
    }
    let [code] = codes else { return None };
    (ALWAYS.contains(code) || OF_BODIES.contains(code) || *code == "not-found").then_some(*code)
}

/// The responses that many routes have.
fn shared() -> Map<String, Value> {
    let each = ALWAYS.iter().chain(&OF_BODIES).chain(&["not-found"]).filter(|code| !TOGETHER.1.contains(code));
    each.map(|code| ((*code).to_owned(), a_problem(&[code]))).chain([(TOGETHER.0.to_owned(), a_problem(&TOGETHER.1))]).collect()
}

fn bearer() -> Value {
    json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a sign-in (`POST /identity/sessions`). Where sign-in is not required, nobody is asked for one.",
    })
}

fn problem() -> Value {
    json!({
        "title": "Problem",
        "description": "What went wrong, as RFC 9457 has it.",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "retryable"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "description": "Stable: match on this." },
            "detail": { "type": "string", "description": "For people." },
            "retryable": { "type": "boolean", "description": "The same request may succeed later." },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": { "pointer": { "type": "string", "description": "JSON Pointer of what is at fault" }, "detail": { "type": "string" } },
                },
            },
        },
    })
}

fn parameters() -> Value {
    let header =
        |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    let tags = json!({ "type": "string", "pattern": "^(\\*|(W/)?\"[^\"]*\"(, *(W/)?\"[^\"]*\")*)$" });
    json!({
        "Position": header(
            "Daybook-Position",
            "What the answer must be at least as fresh as: the header of an earlier answer.",
            json!({ "type": "string", "pattern": "^([a-z.-]+:[0-9]+:[0-9]+(,[a-z.-]+:[0-9]+:[0-9]+)*)?$" }),
        ),
        "Prefer": header("Prefer", "RFC 7240: `wait=<seconds>` for an answer, or `respond-async`.", text()),
        "IfMatch": header("If-Match", "The version that must hold (RFC 9110).", tags.clone()),
        "IfNoneMatch": header("If-None-Match", "The version that is known: 304 if it still holds.", tags),
        "IfNoneMatchAny": header("If-None-Match", "Only if there is none yet.", json!({ "type": "string", "const": "*" })),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "Names the command: the same name is the same command for seven days.",
            json!({ "type": "string", "minLength": 1, "maxLength": 200 }),
        ),
        "OccurredAt": header("Occurred-At", "When it happened, in business time, UTC; now if not said.", json!({ "type": "string", "format": "date-time" })),
        "Actor": header("Daybook-Actor", "Who acts, as the caller names itself, where nobody is asked who it is.", json!({ "type": "string", "maxLength": 500 })),
        "Traceparent": header("traceparent", "W3C Trace Context; carried on to everything that follows.", text()),
    })
}

fn headers() -> Value {
    json!({
        "Daybook-Position": { "description": "Where the answer stands: send it with a read that must not be behind it.", "schema": { "type": "string" } },
        "ETag": { "description": "The aggregate's version.", "schema": { "type": "string" } },
        "Location": { "description": "Where the command's outcome is found.", "schema": { "type": "string" } },
    })
}
