//! What the headers of a call say: its method, id and deadline. The span of the call carries them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Request};
use tonic::Code;
use tracing::Span;

use crate::server::metrics::MethodMetrics;

/// The header of a call's id, in both directions.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// A caller's clock starts before ours, so it may give up a call this long before its deadline because of it.
const CLOCK_SKEW: Duration = Duration::from_millis(5);

/// The context of a call, for its handlers and the log. Handlers find it in the extensions of the request.
#[derive(Debug, Clone)]
pub struct CallContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    method: String,
    request_id: String,
    began: Instant,
    deadline: Option<Instant>,
    /// Whether the `grpc-timeout` header is malformed.
    bad_timeout: bool,
    /// Whether the caller left before it had sent its request.
    lost_request: AtomicBool,
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
        let timeout = timeout(request.headers());
        let (deadline, bad_timeout) = match timeout {
            Ok(timeout) => (timeout.and_then(|timeout| began.checked_add(timeout)), false),
            Err(BadTimeout) => (None, true),
        };
        let lost_request = AtomicBool::new(false);
        Self(Arc::new(Inner {
            method,
            request_id,
            began,
            deadline,
            bad_timeout,
            lost_request,
            span,
            metrics,
        }))
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

    /// Whether the caller set a deadline that cannot be read.
    pub(super) fn has_bad_timeout(&self) -> bool {
        self.0.bad_timeout
    }

    pub(super) fn is_late(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the deadline has passed on the clock of the caller.
    pub(super) fn is_late_for_caller(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| Instant::now() + CLOCK_SKEW >= deadline)
    }

    /// Records that the caller left before it had sent its request.
    pub(super) fn lose_request(&self) {
        self.0.lost_request.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_lost_request(&self) -> bool {
        self.0.lost_request.load(Ordering::Relaxed)
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

/// A `grpc-timeout` header that is not at most eight digits and a unit.
#[derive(Debug, PartialEq, Eq)]
struct BadTimeout;

/// The `grpc-timeout` header: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, BadTimeout> {
    let Some(header) = headers.get("grpc-timeout") else { return Ok(None) };
    let text = header.to_str().map_err(|_| BadTimeout)?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(BadTimeout)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadTimeout);
    }
    let value: u64 = digits.parse().map_err(|_| BadTimeout)?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return Err(BadTimeout),
    }))
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
            assert_eq!(timeout(&headers), expected.map(Some).ok_or(BadTimeout), "{text:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), Ok(None));
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
