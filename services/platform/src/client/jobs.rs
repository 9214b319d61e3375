//! Requests under way at once. Knows nothing of what is asked.

use tokio::task::JoinSet;

/// Runs the jobs, so many at once, and gives their results in order; the first failure ends all.
pub async fn all<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send + 'static>(
    at_once: usize,
    jobs: impl IntoIterator<Item = F>,
) -> anyhow::Result<Vec<T>> {
    let (mut jobs, mut running, mut results) = (jobs.into_iter().enumerate(), JoinSet::new(), vec![]);
    loop {
        while running.len() < at_once {
            let Some((at, job)) = jobs.next() else { break };
            running.spawn(async move { job.await.map(|result| (at, result)) });
        }
        let Some(done) = running.join_next().await else { break };
        results.push(done??);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
