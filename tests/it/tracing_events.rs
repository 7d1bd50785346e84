//! Feature `tracing`: what an observer is told, a subscriber is told, too.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use duologue::net::{ConnectError, Target, connect};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps level, target and fields of each event.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<(Level, String, String)>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let kept = (*metadata.level(), metadata.target().to_owned(), fields.0);
        self.0.lock().unwrap().push(kept);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn connection_events_are_tracing_events() {
    let keeper = Keeper::default();
    let outcome = tracing::subscriber::with_default(keeper.clone(), || {
        let target = Target::new().service("no-such-service").address([127, 0, 0, 1]);
        futures::executor::block_on(connect(&target))
    });
    assert!(matches!(outcome, Err(ConnectError::Target(_))));
    let kept = keeper.0.lock().unwrap();
    let ours: Vec<_> =
        kept.iter().filter(|(_, target, _)| target.starts_with("duologue")).collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    assert!(ours.iter().all(|(level, ..)| *level == Level::DEBUG));
    assert!(ours[0].2.contains("lookup") || ours[0].2.contains("Lookup"), "{ours:?}");
    assert!(ours[1].2.contains("rror"), "{ours:?}");
}
