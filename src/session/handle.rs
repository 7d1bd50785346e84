use core::ops::Deref;
use std::sync::Arc;

use super::shared::Shared;
use crate::wire::CloseCode;

/// What every handle of the application holds: when the last of them goes, the conversation is
/// closed.
pub(super) struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared })
    }
}

impl Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.with(|state| state.close(CloseCode::DONE, ""));
    }
}
