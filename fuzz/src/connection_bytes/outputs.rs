//! What a machine prints and sends.

use duologue::proto::{Error, Transmit};
use duologue::wire::CloseCode;

/// What an error says: a rule or a field, and nothing that the peer wrote.
pub fn told(error: &Error) {
    let shown = format!("{error} {error:?}");
    assert!(shown.is_ascii() && shown.len() < 400, "{shown}");
    if let Error::Violation(violation) = error {
        assert_eq!(error.code(), Some(violation.code()));
        assert!(!violation.rule().is_empty() && error.to_string() == violation.to_string());
        assert_eq!(error.can_retry(), violation.code() == CloseCode::STALE);
    } else {
        let may_retry = matches!(error, Error::Incomplete | Error::HandshakeTimedOut);
        assert_eq!(error.can_retry(), may_retry);
    }
}

pub fn bytes_of(transmit: Transmit<'_>) -> Vec<u8> {
    transmit.into_iter().flatten().copied().collect()
}

pub fn collect(transmit: Transmit<'_>, most: usize, bytes: &mut Vec<u8>) {
    for slice in transmit {
        let room = most - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
    }
}
