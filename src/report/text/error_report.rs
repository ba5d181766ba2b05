//! Errors as people read them: the message, the details that the server sent, then advice.

use super::number::seconds;

/// The message of an error with everything known about it, for standard error; `cause` is the error of the
/// client where one caused it. Ends with a line break.
pub fn error_report(message: &str, cause: Option<&digitd_client::Error>) -> String {
    let mut text = format!("error: {message}\n");
    for (name, detail) in cause.map(details).unwrap_or_default() {
        text += &format!("  {name:<9} {detail}\n");
    }
    text
}

fn details(error: &digitd_client::Error) -> Vec<(&'static str, String)> {
    match error {
        digitd_client::Error::Refused(refusal) => refusal_details(refusal),
        digitd_client::Error::Unreachable { .. } => vec![(
            "advice",
            "start a server with `digitd serve`, name one with --server, or pass --in-process".to_owned(),
        )],
        digitd_client::Error::Lost { run_id, .. } => {
            vec![("advice", format!("the run may still be running: `digitd runs watch {run_id}`"))]
        }
        digitd_client::Error::Address { .. } | digitd_client::Error::Incomplete(_) => Vec::new(),
    }
}

fn refusal_details(refusal: &digitd_client::Refusal) -> Vec<(&'static str, String)> {
    let mut details = Vec::new();
    for (field, description) in &refusal.fields {
        // The message may contain the field and its description already.
        let repeated =
            refusal.message.contains(field.as_str()) && refusal.message.contains(description.as_str());
        details.push(("field", if repeated { field.clone() } else { format!("{field}: {description}") }));
    }
    if let Some((kind, name)) = &refusal.resource {
        details.push(("missing", format!("{kind} {name}").trim().to_owned()));
    }
    match &refusal.reason {
        Some(reason) => details.push(("reason", reason.clone())),
        None => details.push(("code", format!("{:?}", refusal.code))),
    }
    // Metadata that the message contains is not repeated.
    for (key, value) in refusal.metadata.iter().filter(|(_, value)| !refusal.message.contains(value.as_str()))
    {
        details.push(("with", format!("{key} {value}")));
    }
    if let Some(wait) = refusal.retry_after {
        details.push(("advice", format!("try again in {}", seconds(wait.as_secs_f64()))));
    }
    details
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    fn refusal() -> digitd_client::Refusal {
        digitd_client::Refusal {
            code: Code::InvalidArgument,
            message: "epochs 0 is out of range".to_owned(),
            reason: Some("INVALID_FIELD".to_owned()),
            metadata: Vec::new(),
            fields: vec![("epochs".to_owned(), "use 1 to 10000".to_owned())],
            resource: None,
            retry_after: Some(Duration::from_secs(5)),
        }
    }

    fn report(error: &digitd_client::Error) -> String {
        error_report(&error.to_string(), Some(error))
    }

    #[test]
    fn the_details_are_shown_below_the_message() {
        let error = digitd_client::Error::Refused(Box::new(refusal()));
        let expected = "error: epochs 0 is out of range\n  field     epochs: use 1 to 10000\n  \
                        reason    INVALID_FIELD\n  advice    try again in 5.0 s\n";
        assert_eq!(report(&error), expected);
    }

    #[test]
    fn metadata_is_shown_only_where_the_message_lacks_it() {
        let metadata = [("field", "epochs"), ("run_id", "0192f0c1")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let error = digitd_client::Error::Refused(Box::new(digitd_client::Refusal { metadata, ..refusal() }));
        let text = report(&error);
        assert!(text.contains("  with      run_id 0192f0c1\n") && !text.contains("field epochs"), "{text}");
    }

    #[test]
    fn an_unreachable_server_is_reported_with_advice() {
        let url = "http://127.0.0.1:9".to_owned();
        let error = digitd_client::Error::Unreachable { url, cause: "connection refused".to_owned() };
        let text = report(&error);
        assert!(text.contains("digitd serve") && text.contains("--in-process"), "{text}");
    }
}
