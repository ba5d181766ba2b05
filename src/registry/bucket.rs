//! Opens a bucket of S3 or of a store that speaks its protocol. Endpoint, region, credentials and certificates come from
//! the variables that every AWS tool reads, and none of them is put into a message.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
};

use super::error::causes;

/// Longest wait for a connection to a bucket.
const CONNECT: &str = "3s";

/// Longest time of one request to a bucket: the largest file of weights at 1.5 MB/s.
const REQUEST: &str = "60s";

/// How long a failed request is retried. A caller waits for it, so the time is short; what
/// must not be lost, such as the events of a run, has longer retries in its writer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest pause between two attempts, so that several fit into `PATIENCE`.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// The number of attempts after the first one.
const MAX_RETRIES: usize = 4;

/// Whether a request that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retries {
    On,
    Off,
}

/// The bucket of this name. The error is a message that says what to change.
pub(super) fn open_bucket(
    name: &str,
    variables: &[(String, String)],
    retries: Retries,
) -> Result<Arc<dyn ObjectStore>, String> {
    // An error means that a provider was installed before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = |key| AmazonS3ConfigKey::Client(key);
    let settings = variables.iter().filter_map(|(variable, value)| {
        let key = variable.starts_with("AWS_").then(|| variable.to_ascii_lowercase().parse().ok())??;
        Some((key, value.trim()))
    });
    let builder = settings
        .fold(
            AmazonS3Builder::new().with_client_options(client_options(variables)?),
            |builder, (key, value)| builder.with_config(key, value),
        )
        .with_bucket_name(name)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_config(client(ClientConfigKey::ConnectTimeout), CONNECT)
        .with_config(client(ClientConfigKey::Timeout), REQUEST)
        .with_retry(RetryConfig {
            backoff: BackoffConfig { max_backoff: MAX_BACKOFF, ..BackoffConfig::default() },
            max_retries: if retries == Retries::On { MAX_RETRIES } else { 0 },
            retry_timeout: PATIENCE,
        });
    let endpoint = endpoint(variables)?;
    check_credentials(endpoint.is_some(), variables)?;
    // An endpoint without TLS is accepted, as by every AWS tool.
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let builder = if is_plain { builder.with_allow_http(true) } else { builder };
    Ok(Arc::new(builder.build().map_err(|error| causes(&error))?))
}

/// The value of a variable; none where it is missing or blank.
fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = variables.iter().find(|(variable, _)| variable == name);
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

/// The certificates of `AWS_CA_BUNDLE`, beside those of the system.
fn client_options(variables: &[(String, String)]) -> Result<ClientOptions, String> {
    let Some(path) = value(variables, "AWS_CA_BUNDLE") else { return Ok(ClientOptions::new()) };
    let failed = |cause: String| format!("AWS_CA_BUNDLE {path:?} cannot be used: {cause}");
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(causes(&error)))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate in the form of PEM".to_owned()));
    }
    Ok(certificates.into_iter().fold(ClientOptions::new(), ClientOptions::with_root_certificate))
}

/// The endpoint that replaces Amazon's. The variable of S3 overrides that of all services.
fn endpoint(variables: &[(String, String)]) -> Result<Option<&str>, String> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let Some((name, endpoint)) = names.iter().find_map(|name| Some((name, value(variables, name)?))) else {
        return Ok(None);
    };
    let is_address = endpoint.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match is_address {
        true => Ok(Some(endpoint)),
        false => Err(format!(
            "{name} {endpoint:?} is not the address of a store: use a form like http://minio:9000 or https://s3.example.com"
        )),
    }
}

/// Errors where no credentials can be found: a store that is not Amazon's has no service that hands them out.
fn check_credentials(has_endpoint: bool, variables: &[(String, String)]) -> Result<(), String> {
    const SOURCES: [&str; 5] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_METADATA_ENDPOINT",
    ];
    let is_on = |name| value(variables, name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let has_source =
        SOURCES.iter().any(|name| value(variables, name).is_some()) || is_on("AWS_SKIP_SIGNATURE");
    if !has_source && (has_endpoint || is_on("AWS_EC2_METADATA_DISABLED")) {
        return Err("there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                    AWS_SKIP_SIGNATURE=true for a store that asks for none"
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(variables: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        open_bucket("digits", &variables.iter().map(owned).collect::<Vec<_>>(), Retries::On)
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "word")];

    #[test]
    fn an_endpoint_is_an_address_with_a_scheme() {
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
            for endpoint in ["minio:9000", "http://", "https:///x", "http://a b", "ftp://minio", "minio"] {
                let error = open(&[KEYS[0], KEYS[1], (name, endpoint)]).unwrap_err();
                assert!(
                    error.starts_with(name) && error.contains("http://minio:9000"),
                    "{endpoint}: {error}"
                );
            }
            for endpoint in ["http://minio:9000", " https://s3.example.com/ ", ""] {
                open(&[KEYS[0], KEYS[1], (name, endpoint)]).unwrap();
            }
        }
    }

    #[test]
    fn missing_credentials_are_an_error_where_nobody_hands_them_out() {
        let endpoint = ("AWS_ENDPOINT_URL", "http://minio:9000");
        assert!(open(&[endpoint]).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        assert!(open(&[("AWS_EC2_METADATA_DISABLED", "true")]).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        open(&[endpoint, ("AWS_SKIP_SIGNATURE", "true")]).unwrap();
        open(&[]).unwrap();
    }

    #[test]
    fn a_file_of_certificates_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let path = path.to_str().unwrap();
        assert!(open(&[("AWS_CA_BUNDLE", path)]).unwrap_err().contains("No such file"));
        std::fs::write(path, "no certificate").unwrap();
        assert!(open(&[("AWS_CA_BUNDLE", path)]).unwrap_err().contains("no certificate in the form of PEM"));
    }
}
