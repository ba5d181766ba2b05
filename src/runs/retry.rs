//! How often and how soon a failed request of a run to its store is repeated.

use std::time::Duration;

use crate::registry::Error;

/// How often a failed write of a run is retried, waiting twice as long each time: 6 seconds in all.
pub const RETRIES: u32 = 6;
pub const FIRST_RETRY: Duration = Duration::from_millis(100);

/// Repeats `attempt` until it succeeds, until it fails for a reason that no retry changes, or until the retries are
/// used up. `attempt` gets the number of failures before it.
pub async fn with_retries<T, F>(part: &'static str, mut attempt: impl FnMut(u32) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pause = FIRST_RETRY;
    for failures in 0..RETRIES {
        match attempt(failures).await {
            Err(error) if error.is_transient() => tracing::warn!(%error, "retrying {part}"),
            result => return result,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    attempt(RETRIES).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::store_failure;

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_the_store_is_retried_and_damage_is_not() {
        let mut attempts = 0;
        let stored = with_retries("a test", |failures| {
            attempts += 1;
            async move { if failures < 3 { Err(store_failure()) } else { Ok(failures) } }
        });
        assert_eq!(stored.await.unwrap(), 3);
        assert_eq!(attempts, 4);
        let damaged = || Error::Corrupt { path: "x".to_owned(), message: "it is torn".to_owned() };
        let mut attempts = 0;
        let read = with_retries("a test", |_| {
            attempts += 1;
            async move { Err::<(), _>(damaged()) }
        });
        assert!(matches!(read.await, Err(Error::Corrupt { .. })));
        assert_eq!(attempts, 1);
    }
}
