//! The two ways to drive a load: clients that wait for their answers, or a rate that waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval, sleep_until, timeout_at};

use super::state::LoadState;
use super::tally::{Measure, NOT_BEGUN};
use super::{chores, session};

/// How the load is driven.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Closed loop: so many clients, each begins a transaction when its last one has ended.
    Clients(usize),
    /// Open loop: transactions are begun at fixed moments, and latencies count from those moments.
    Rate {
        /// transactions a second
        each_second: f64,
        /// most under way at once
        in_flight: usize,
    },
}

/// Drives transactions until `stop`, and waits for those that were begun, at most until the state's deadline.
pub async fn run(state: &Arc<LoadState>, mode: Mode, began: Instant, stop: Instant) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    let shown = tokio::spawn(show(Arc::clone(state), began, stop));
    match mode {
        Mode::Clients(clients) => {
            let next = Arc::new(AtomicU64::new(0));
            for _ in 0..clients {
                let (state, next) = (Arc::clone(state), Arc::clone(&next));
                running.spawn(async move {
                    while Instant::now() < stop {
                        play(&state, next.fetch_add(1, Ordering::Relaxed), Instant::now()).await;
                    }
                });
            }
        }
        Mode::Rate { each_second, in_flight } => open(state, &mut running, each_second, in_flight, began, stop).await,
    }
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    shown.abort();
    let _ended = shown.await;
    Ok(())
}

/// Begins each transaction at its moment, or as soon after it as fewer than `in_flight` are under way.
async fn open(state: &Arc<LoadState>, running: &mut JoinSet<()>, each_second: f64, in_flight: usize, began: Instant, stop: Instant) {
    let places = Arc::new(Semaphore::new(in_flight));
    for number in 0_u32.. {
        let intended = began + Duration::from_secs_f64(f64::from(number) / each_second);
        if intended >= stop {
            return;
        }
        sleep_until(intended).await;
        let place = timeout_at(state.deadline, Arc::clone(&places).acquire_owned()).await;
        let Some(place) = place.ok().and_then(Result::ok).filter(|_| Instant::now() < state.deadline) else {
            not_begun(state, u64::from(number), intended);
            continue;
        };
        let state = Arc::clone(state);
        running.spawn(async move {
            play(&state, u64::from(number), intended).await;
            drop(place);
        });
        while running.try_join_next().is_some() {}
    }
}

/// What could not be begun counts from its moment as well, and is an error.
fn not_begun(state: &LoadState, number: u64, intended: Instant) {
    let kind = state.plan.kind(&mut state.plan.random(number));
    state.tally.took(kind, intended.elapsed());
    state.tally.error(kind, NOT_BEGUN);
}

/// One transaction, of the kind that its number gives.
async fn play(state: &LoadState, number: u64, intended: Instant) {
    let mut random = state.plan.random(number);
    let (kind, id) = (state.plan.kind(&mut random), format!("{}_{number}", state.plan.run));
    match kind {
        Measure::Dashboard => chores::dashboard(state, &mut random, intended).await,
        Measure::Price => chores::price(state, &mut random, intended, &id).await,
        Measure::Replacement => chores::replacement(state, &mut random, intended, &id).await,
        Measure::Delivery => chores::delivery(state, intended, &id).await,
        Measure::Session | Measure::Addition | Measure::Checkout => {
            if !session::play(state, &mut random, intended).await {
                not_begun(state, number, intended);
            }
        }
    }
}

/// Shows how far it is, where there is a terminal.
async fn show(state: Arc<LoadState>, began: Instant, stop: Instant) {
    let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} s  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(stop.saturating_duration_since(began).as_secs()).with_style(style.progress_chars("=> "));
    let (mut tick, mut before) = (interval(Duration::from_secs(1)), 0);
    loop {
        tick.tick().await;
        let now = state.tally.transactions();
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(if Instant::now() < stop {
            format!("{} transactions/s, {now} in all", now - before)
        } else {
            "waiting for the last answers".to_owned()
        });
        before = now;
    }
}
