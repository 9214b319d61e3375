//! How to add a service: products counted by sale. One aggregate, one policy across keys, one view, one route.
//! What belongs in `domain`, `schemas` and `services` stands in one file here, in that order.
#![allow(missing_docs, reason = "an example, read from top to bottom")]

/// What would be a module of `domain`.
mod popularity {
    use domain::{Aggregate, Context, Policy, order};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Popularity {
        pub sales: u64,
    }

    #[derive(Clone, Debug, PartialEq)]
    pub enum Command {
        Count { order: String },
    }

    #[derive(Clone, Debug, PartialEq)]
    pub enum Event {
        Counted { order: String },
    }

    impl Aggregate for Popularity {
        const NAME: &'static str = "popularity";
        const STATE_VERSION: u8 = 1;
        type Id = domain::ProductRef;
        type Command = Command;
        type Event = Event;
        type Refusal = String;

        fn decide(&self, Command::Count { order }: Command, _: &Context<'_>) -> Result<Vec<Event>, String> {
            Ok(vec![Event::Counted { order }])
        }
        fn evolve(&mut self, _: &Event) {
            self.sales += 1;
        }
        fn refusal_code(_: &String) -> &'static str {
            "never"
        }
    }

    /// A paid order counts once for each of its lines' products. Orders are routed by customer, products by seller.
    pub struct CountSales;
    impl Policy for CountSales {
        const NAME: &'static str = "count-sales";
        type Source = order::Order;
        type Target = Popularity;

        fn react(subject: &str, event: &order::Event) -> Vec<(String, Command)> {
            match event {
                order::Event::Paid(ending) => {
                    ending.lines.iter().map(|(_, product)| (product.to_string(), Command::Count { order: subject.to_owned() })).collect()
                }
                _ => vec![],
            }
        }
    }
}

/// What would be a module of `schemas`; its golden records are checked by `services`' tests.
mod wire {
    use super::popularity::{Command, Event, Popularity};

    schemas::codec! { Popularity;
        events { Counted { order: String } as CountedV1 = "counted" 1; }
        commands { Count { order: String } as CountV1 = "count" 1; }
    }
}

// wiring: begin
mod capability {
    use super::popularity::{CountSales, Event, Popularity};
    use axum::extract::{Path, State};
    use projections::{Overlay, Seen, Unfolded};
    use services::capabilities::rows::event_of;
    use services::capability::Capability;
    use services::http::app::App;
    use services::http::command::Failure;
    use services::http::read;

    pub fn capability() -> Capability {
        let service = eventstore::service::Service::new("popularity").owns::<Popularity>().follows_across::<CountSales>("ordering");
        Capability::of(service).view("popularity", 1, fold).routes(axum::Router::new().route("/popularity/{id}", axum::routing::get(show)))
    }

    fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
        let Some(Event::Counted { .. }) = event_of::<Popularity>(seen)? else { return Ok(()) };
        Ok(rows.update::<Popularity>(&seen.envelope.subject, |row| row.sales += 1)?)
    }

    async fn show(State(app): State<App>, Path(id): Path<String>, headers: axum::http::HeaderMap) -> Result<axum::response::Response, Failure> {
        read::row::<Popularity>(&app, "popularity", (&id, &id), &headers, |row| row.sales).await
    }
}

fn main() -> std::process::ExitCode {
    services::cli::main(|| services::capabilities::all().into_iter().chain([capability::capability()]).collect())
}
// wiring: end

#[cfg(test)]
mod tests {
    use super::popularity::{Command, Event, Popularity};

    #[test]
    fn its_shapes_are_held_by_golden_records() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/popularity/golden");
        let (event, command) = (Event::Counted { order: "17-1".into() }, Command::Count { order: "17-1".into() });
        assert_eq!(schemas::golden::check::<Popularity>(&dir, &super::wire::shapes(), &[event], &[command]), Ok(()));
    }
}
