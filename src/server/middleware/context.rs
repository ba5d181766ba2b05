//! What the headers of a call say: its method, id and deadline. The span of the call carries them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Request};
use tonic::Code;
use tracing::Span;

use crate::server::metrics::MethodMetrics;

/// The header of a call's id, in both directions.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// The context of a call, for its handlers and the log. Handlers find it in the extensions of the request.
#[derive(Debug, Clone)]
pub struct CallContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    method: String,
    request_id: String,
    began: Instant,
    deadline: Option<Instant>,
    span: Span,
    metrics: Arc<MethodMetrics>,
}

impl CallContext {
    pub(super) fn of<B>(request: &Request<B>, metrics: Arc<MethodMetrics>) -> Self {
        let began = Instant::now();
        // A hostile path may be long, so the log shows only its beginning.
        let method: String = request.uri().path().chars().take(128).collect();
        let request_id = given_id(request.headers()).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let span = tracing::info_span!(
            "call",
            method,
            request_id,
            code = tracing::field::Empty,
            seconds = tracing::field::Empty
        );
        let deadline = timeout(request.headers()).and_then(|timeout| began.checked_add(timeout));
        Self(Arc::new(Inner { method, request_id, began, deadline, span, metrics }))
    }

    pub fn method(&self) -> &str {
        &self.0.method
    }

    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// When the caller stops waiting; `None` if it did not say.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// The deadline of the call that carries a request.
    pub fn deadline_of<T>(request: &tonic::Request<T>) -> Option<Instant> {
        request.extensions().get::<Self>().and_then(Self::deadline)
    }

    pub(super) fn is_late(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(super) fn span(&self) -> &Span {
        &self.0.span
    }

    /// Reports the end of the call to the log and the metrics.
    pub(super) fn ended(&self, code: Code) {
        let taken = self.0.began.elapsed();
        self.0.metrics.ended(code, taken);
        let seconds = taken.as_secs_f64();
        self.0.span.record("code", tracing::field::debug(code));
        self.0.span.record("seconds", seconds);
        let _inside = self.0.span.enter();
        match is_routine(code) {
            true => tracing::debug!(?code, "call ended"),
            false => tracing::info!(?code, "call ended"),
        }
    }
}

/// Whether the end of a call is logged at debug level only. An overload rejects thousands of calls in a
/// second, and `grpc_server_handled_total` counts them.
fn is_routine(code: Code) -> bool {
    matches!(code, Code::Ok | Code::ResourceExhausted | Code::DeadlineExceeded)
}

/// The id that the caller gave the call, if it is fit for a log.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| id.to_owned())
}

/// The `grpc-timeout` header: at most eight digits and a unit. A header of another form is ignored, as in
/// tonic.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::metrics::CallMetrics;

    fn with(name: &str, value: &str) -> CallContext {
        let request = Request::builder().uri("/a.B/C").header(name, value).body(()).unwrap();
        CallContext::of(&request, CallMetrics::new(&prometheus::Registry::new()).started("/a.B/C"))
    }

    #[test]
    fn a_timeout_is_read_in_every_unit() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("5m", Some(Duration::from_millis(5))),
            ("6u", Some(Duration::from_micros(6))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("m", None),
            ("+1S", None),
            ("999999999S", None),
            ("1x", None),
        ] {
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]);
            assert_eq!(timeout(&headers), expected, "{text:?}");
        }
    }

    #[test]
    fn a_plain_request_id_of_the_caller_is_used() {
        assert_eq!(with(REQUEST_ID, "abc-1").request_id(), "abc-1");
        for bad in ["", "a b", &"x".repeat(129)] {
            assert_ne!(with(REQUEST_ID, bad).request_id(), bad);
        }
    }

    #[test]
    fn rejections_during_an_overload_do_not_fill_the_log() {
        for code in [Code::ResourceExhausted, Code::DeadlineExceeded] {
            assert!(is_routine(code));
        }
        for code in [Code::InvalidArgument, Code::Internal, Code::Unavailable, Code::Cancelled] {
            assert!(!is_routine(code), "{code:?}");
        }
    }

    #[test]
    fn a_call_without_a_timeout_is_never_late() {
        assert!(!with("a", "b").is_late());
        assert!(with("grpc-timeout", "0n").is_late());
    }
}
