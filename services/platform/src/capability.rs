//! A service with all that is needed to run it: what it owns and follows, its views, its routes.

use std::sync::Arc;

use eventstore::service::Service;
use projections::{FoldEvent, View};
use schemas::wire::{Shape, own_shapes};

use crate::gateway::outcomes;
use crate::http::route::Routes;

/// The wire shapes of all services' aggregates, and the worker's own.
pub fn shapes(capabilities: &[Capability]) -> Vec<Shape> {
    let handlers = capabilities.iter().flat_map(|capability| &capability.service.aggregates);
    handlers.flat_map(|handler| handler.shapes()).chain(own_shapes()).collect()
}

/// One of them.
pub struct Capability {
    /// who owns what and reacts to what
    pub service: Service,
    /// what readers see
    pub views: Vec<Arc<View>>,
    /// how it is reached over HTTP
    pub routes: Routes,
    /// Views that every instance folds, whether it runs the service or not, by name.
    pub everywhere: Vec<&'static str>,
    /// Commands that another service answers at the end of a process: the event they cause here, and that service.
    pub answered_by: &'static [(&'static str, &'static str)],
    /// Services, besides its own, that its routes command.
    pub asks: &'static [&'static str],
    /// Its processes read every topic there is, but those that are private.
    pub reads_all: bool,
}

impl Capability {
    /// A service with no view but its commands' outcomes, and no routes.
    pub fn of(service: Service) -> Self {
        let outcomes = Arc::new(outcomes::of(&service));
        Self { service, views: vec![outcomes], routes: Routes::default(), everywhere: vec![], answered_by: &[], asks: &[], reads_all: false }
    }

    /// It has this view of its events; see [`View`] for what name and shape mean.
    #[must_use]
    pub fn view(self, name: &str, shape: u32, fold: FoldEvent) -> Self {
        self.has(name, shape, fold, None)
    }

    /// The same, and every instance folds it, whether it runs the service or not.
    #[must_use]
    pub fn everywhere(mut self, name: &'static str, shape: u32, fold: FoldEvent) -> Self {
        self.everywhere.push(name);
        self.view(name, shape, fold)
    }

    /// The same, and its rows whose keys begin with `queue` wait for something.
    #[must_use]
    pub fn queue(self, name: &str, shape: u32, fold: FoldEvent, queue: &'static str) -> Self {
        self.has(name, shape, fold, Some(queue))
    }

    fn has(mut self, name: &str, shape: u32, fold: FoldEvent, queue: Option<&'static str>) -> Self {
        self.views.push(Arc::new(View { name: name.to_owned(), shape, topic: self.service.events(), fold, queue, readable_from: shape }));
        self
    }

    /// Rows of its newest view that are of an earlier shape, this one or a later one, can still be read and folded as they are:
    /// see [`View::readable_from`].
    #[must_use]
    pub fn readable_from(mut self, shape: u32) -> Self {
        if let Some(view) = self.views.last_mut().and_then(Arc::get_mut) {
            view.readable_from = shape;
        }
        self
    }

    /// It has these routes.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }
}
