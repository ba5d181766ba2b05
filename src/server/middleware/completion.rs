//! The report of a call's end to the log and the metrics, whether the call ends by itself or its caller leaves.

use http::HeaderMap;
use tonic::Code;

use super::{context::CallContext, rewrite_status};

/// Reports the end of a call when it is dropped, once, with the status that was sent. It is made when the call arrives,
/// so that no call is missing from the metrics.
#[derive(Debug)]
pub struct CallCompletion {
    context: CallContext,
    /// The code that was sent; `None` while the call goes on.
    code: Option<Code>,
}

impl CallCompletion {
    pub fn new(context: CallContext) -> Self {
        Self { context, code: None }
    }

    pub fn context(&self) -> &CallContext {
        &self.context
    }

    /// Records the status in headers or trailers that are sent, if they carry one.
    pub fn sent(&mut self, headers: &HeaderMap) {
        if let Some(code) = rewrite_status::status_code(headers) {
            self.code = Some(code);
        }
    }
}

impl Drop for CallCompletion {
    fn drop(&mut self) {
        let left = match self.context.is_late_for_caller() {
            true => Code::DeadlineExceeded,
            false => Code::Cancelled,
        };
        // Without a code nobody waited for the end, and the status that follows from an incomplete request is no
        // fault of the server.
        let code = self.code.filter(|_| !self.context.has_lost_request()).unwrap_or(left);
        self.context.ended(code);
    }
}
