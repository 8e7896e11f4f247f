//! From what tonic says to what it means. tonic's own codes mix the server's answers with its own troubles, so
//! the chain of causes is looked at first.

use std::error::Error;

use tonic::Code;

use super::error::Failure;
use super::refusal::one_line;
use crate::units::Bytes;

/// What tonic says when an HTTP/2 answer carries no gRPC status: whatever answers is no gRPC server, or stands
/// in front of one.
const WITHOUT_GRPC_STATUS: &str = "grpc-status header missing";

/// How the HTTP/2 layer shows that the bytes it got are something else: an HTTP/1 answer and a TLS alert both
/// read as frames of impossible size.
const NOT_HTTP2_TEXTS: [&str; 3] = ["frame with invalid size", "invalid HTTP version", "PROTOCOL_ERROR"];

/// How the TLS layer shows up in the text of a failed connection.
const TLS_TEXTS: [&str; 5] =
    ["certificate", "InvalidContentType", "corrupt message", "tls handshake", "alert"];

/// The meaning of a gRPC status. `limit` is how large the answer might have been.
pub(super) fn failure(status: &tonic::Status, limit: Bytes) -> Failure {
    let cause = one_line(&with_causes(status));
    if has_cause::<tonic::ConnectError>(status) {
        if contains_any(&cause, &TLS_TEXTS) {
            return Failure::Tls { cause };
        }
        return Failure::Unreachable { cause };
    }
    if status.source().is_some() {
        if contains_any(&cause, &NOT_HTTP2_TEXTS) {
            return Failure::NotMilvus { cause };
        }
        return Failure::Lost { cause };
    }
    of_answer(status, limit)
}

/// The meaning of a status that came as an answer, or that tonic made from one.
fn of_answer(status: &tonic::Status, limit: Bytes) -> Failure {
    let reason = one_line(status.message());
    let without_grpc_status = reason.starts_with(WITHOUT_GRPC_STATUS);
    match status.code() {
        Code::Unauthenticated => Failure::Unauthenticated { reason },
        Code::PermissionDenied => Failure::PermissionDenied { reason },
        // 502, 503 and 504 of a proxy in front of Milvus.
        Code::Unavailable if without_grpc_status => Failure::Lost { cause: reason },
        _ if without_grpc_status || reason.contains("invalid compression flag") => {
            Failure::NotMilvus { cause: reason }
        }
        Code::Unimplemented => Failure::MissingCall,
        Code::OutOfRange | Code::ResourceExhausted if is_about_size(&reason) => {
            Failure::TooLarge { limit, reason }
        }
        Code::Internal if reason.contains("failed to decode") => Failure::Malformed { problem: reason },
        code => Failure::Rpc { code: name(code), reason },
    }
}

/// Our decode limit speaks of a length that is too large, Milvus' send limit of a larger message than max.
fn is_about_size(reason: &str) -> bool {
    reason.contains("length too large") || reason.contains("larger than max")
}

/// The name of a gRPC code as its specification writes it, in words.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid argument",
        Code::DeadlineExceeded => "deadline exceeded",
        Code::NotFound => "not found",
        Code::AlreadyExists => "already exists",
        Code::PermissionDenied => "permission denied",
        Code::ResourceExhausted => "resource exhausted",
        Code::FailedPrecondition => "failed precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out of range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

fn contains_any(text: &str, fragments: &[&str]) -> bool {
    fragments.iter().any(|fragment| text.contains(fragment))
}

fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error and its causes in one text, each said once: errors of the transport repeat those under them.
fn with_causes(status: &tonic::Status) -> String {
    let mut parts: Vec<String> = vec![status.message().to_owned()];
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if parts.iter().all(|part| !part.contains(&text)) {
            parts.retain(|part| !text.contains(part.as_str()));
            parts.push(text);
        }
        cause = error.source();
    }
    parts.retain(|part| part != "transport error" && !part.is_empty());
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: &tonic::Status) -> Failure {
        failure(status, Bytes(1 << 20))
    }

    #[test]
    fn answers_of_milvus_are_told_from_answers_of_others() {
        let reason = "grpc-status header missing, mapped from HTTP status code 404";
        let no_milvus = tonic::Status::unimplemented(reason);
        assert_eq!(meaning(&no_milvus), Failure::NotMilvus { cause: reason.to_owned() });
        assert_eq!(meaning(&tonic::Status::unimplemented("unknown method")), Failure::MissingCall);
    }

    #[test]
    fn both_limits_on_size_are_recognised() {
        for status in [
            tonic::Status::out_of_range("Error, decoded message length too large: found 5 bytes"),
            tonic::Status::resource_exhausted("grpc: trying to send message larger than max (9 vs. 5)"),
        ] {
            assert!(matches!(meaning(&status), Failure::TooLarge { .. }), "{status:?}");
        }
        let busy = tonic::Status::resource_exhausted("too many requests");
        assert!(matches!(meaning(&busy), Failure::Rpc { code: "resource exhausted", .. }));
    }

    #[test]
    fn a_failed_connection_was_never_a_call() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        let status = tonic::Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        assert_eq!(meaning(&status), Failure::Unreachable { cause: "Connection refused".to_owned() });
    }
}
