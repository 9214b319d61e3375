//! Documents of an application, made of what it declares: AsyncAPI of its topics, OpenAPI of its routes; and the routes that
//! show them.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa_swagger_ui::{Config, serve};

use crate::application::Application;
use crate::http;
use crate::http::extract::Path;
use crate::http::failure::Failure;
use crate::http::route::{Operation, Routes};
use crate::identity::access::Access;

pub mod asyncapi;
pub mod openapi;

/// Every route of an application: those of its services, its own, the platform's, and those of documents.
pub fn routes(application: &Application, of_services: Routes) -> Routes {
    let made: Arc<OnceLock<(Value, Vec<Listed>)>> = Arc::default();
    let (listed, described) = (Arc::clone(&made), Arc::clone(&made));
    let (name, index) = (application.title, move || listed.get().map(|(_, routes)| routes.clone()).unwrap_or_default());
    let own = Routes::of("platform", Access::Anyone)
        .get(
            "/",
            async move || Json(Index { name, documents: ["/openapi.json", "/docs"], routes: index() }),
            Operation::new("Lists the routes").answers::<Index>(200, "All of them"),
        )
        .get(
            "/openapi.json",
            async move || Json(described.get().map(|(document, _)| document.clone())),
            Operation::new("Describes the routes, as OpenAPI 3.1").answers::<Map<String, Value>>(200, "The document"),
        )
        .get("/docs", async || viewer("index.html"), Operation::new("Shows the routes to people").file(200, "text/html", "A page"))
        .get(
            "/docs/{*file}",
            async |Path(file): Path<String>| viewer(&file),
            Operation::new("Gives the viewer's files").file(200, "*/*", "A file").part("file", "swagger-ui.css").fails(&["not-found"]),
        );
    let all = of_services.merge((application.routes)()).merge(http::routes(application.example)).merge(own);
    let routes = all.iter().map(|route| Listed { method: route.method.to_string(), path: route.path, what: route.operation.summary }).collect();
    let _once = made.set((openapi::document(application.title, env!("CARGO_PKG_VERSION"), &all), routes));
    all
}

/// The OpenAPI document of an application.
pub fn openapi(application: &Application) -> Value {
    let services = application.services().into_iter().fold(Routes::default(), |all, capability| all.merge(capability.routes));
    openapi::document(application.title, env!("CARGO_PKG_VERSION"), &routes(application, services))
}

/// What there is.
#[derive(Serialize, JsonSchema)]
struct Index {
    name: &'static str,
    documents: [&'static str; 2],
    routes: Vec<Listed>,
}

/// A route.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "Route")]
struct Listed {
    method: String,
    path: &'static str,
    what: &'static str,
}

/// A file of the viewer, which needs nothing from elsewhere. Its page lies a level above its other files.
fn viewer(file: &str) -> Response {
    match serve(file, Arc::new(Config::from("/openapi.json").validator_url("none"))) {
        Ok(Some(found)) if file == "index.html" => {
            let page = String::from_utf8_lossy(&found.bytes).replace("=\"./", "=\"/docs/").replace("href=\"index.css", "href=\"/docs/index.css");
            ([(header::CONTENT_TYPE, found.content_type)], page).into_response()
        }
        Ok(Some(found)) => ([(header::CONTENT_TYPE, found.content_type)], found.bytes).into_response(),
        Ok(None) => Failure::not_found("the viewer has no such file").into_response(),
        Err(why) => Failure::internal(why).into_response(),
    }
}
