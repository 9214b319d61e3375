//! `daybook verify`: proves that what is served equals a fold from zero, on a running system or on a directory at rest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use projections::Verdict;

use crate::application::Application;
use crate::args::{Output, address, addresses, asynchronous};
use crate::client::connection::{Connection, Method};
use crate::config::Cluster;
use crate::location::LogLocation;
use crate::misuse::Misuse;
use crate::out;
use crate::runtime::at_rest;

/// What to verify.
#[derive(clap::Args)]
pub struct Args {
    /// A data directory that no process has open [env: DAYBOOK_DATA] [default: ./daybook-data]
    #[arg(long, value_name = "DIR", conflicts_with = "urls")]
    data: Option<PathBuf>,
    /// Folds everything from zero and compares row by row; without this a running system goes on from what it proved before, and
    /// compares digests. A directory is always proven in full
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    cluster: Cluster,
    /// A running system's address; of several instances all of them, repeated or separated by commas [env: DAYBOOK_URL]
    #[arg(long = "url", value_name = "URL", value_delimiter = ',', value_parser = address)]
    urls: Vec<String>,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

impl Args {
    /// The instances that are asked, if not a directory: what a flag says goes before every variable.
    fn asked(&self) -> anyhow::Result<Vec<String>> {
        match std::env::var("DAYBOOK_URL") {
            Ok(urls) if self.data.is_none() && self.urls.is_empty() => Ok(addresses(&urls).map_err(|why| Misuse::new(format!("DAYBOOK_URL: {why}")))?),
            _ => Ok(self.urls.clone()),
        }
    }
}

/// What became of one fold.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fold {
    #[serde(flatten)]
    verdict: Verdict,
    /// whose it is, where several were asked
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Result {
    matches: bool,
    folds: Vec<Fold>,
    /// instances that were to be asked and proved nothing, each with the reason
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    silent: BTreeMap<String, String>,
}

/// Exit code 0 only when every fold of every instance matches; 3 where one does not, 1 where one was not proven.
pub fn run(args: Args, application: &Application) -> anyhow::Result<ExitCode> {
    let urls = args.asked()?;
    let result = if urls.is_empty() {
        let here = || LogLocation::here(None, false).context("this program was built without a log of its own: name Kafka's brokers with --brokers");
        let at = args.cluster.location(None, None).map_or_else(here, Ok)?;
        let data = args.data.or_else(|| std::env::var_os("DAYBOOK_DATA").map(PathBuf::from)).unwrap_or_else(crate::args::default_data);
        let verdicts = at_rest::prover(&data, at, application)
            .context("a directory is verified at rest, a running system with --url")?
            .prove(true)?
            .context("another proof runs")?;
        let matches = verdicts.iter().all(Verdict::matches);
        Result { matches, folds: verdicts.into_iter().map(|verdict| Fold { verdict, instance: None }).collect(), silent: BTreeMap::new() }
    } else {
        ask_all(&urls, args.full)?
    };
    match args.output {
        Output::Json => out::line(serde_json::to_string_pretty(&result)?),
        Output::Table => show(&result),
    }
    for (url, why) in &result.silent {
        out::note(format!("{url} was not verified: {why}"));
    }
    Ok(match &result {
        Result { matches: true, .. } => ExitCode::SUCCESS,
        Result { folds, .. } if folds.iter().all(|fold| fold.verdict.matches()) => ExitCode::FAILURE,
        _ => ExitCode::from(3),
    })
}

/// Every instance proves its own folds, one after the other: a proof takes what a machine has.
fn ask_all(urls: &[String], full: bool) -> anyhow::Result<Result> {
    let mut all = Result { matches: true, folds: vec![], silent: BTreeMap::new() };
    for url in urls {
        match ask(url, full) {
            Ok(result) => {
                all.matches &= result.matches;
                let instance = (urls.len() > 1).then(|| url.clone());
                all.folds.extend(result.folds.into_iter().map(|fold| Fold { instance: instance.clone(), ..fold }));
            }
            Err(why) if urls.len() == 1 => return Err(why),
            Err(why) => {
                all.matches = false;
                all.silent.insert(url.clone(), format!("{why:#}"));
            }
        }
    }
    Ok(all)
}

fn ask(url: &str, full: bool) -> anyhow::Result<Result> {
    asynchronous(async {
        let system = Connection::to([url]);
        let answer = system.once(system.request(Method::POST, if full { "/verify?full=true" } else { "/verify" })).await.with_context(|| system.absent())?;
        anyhow::ensure!(answer.status.is_success(), "{url} answered {}: {}", answer.status, answer.text);
        Ok(serde_json::from_str(&answer.text)?)
    })
}

fn show(result: &Result) {
    let several = result.folds.iter().any(|fold| fold.instance.is_some());
    let named = |fold: &Fold| fold.instance.as_ref().map_or_else(|| fold.verdict.name.clone(), |instance| format!("{} at {instance}", fold.verdict.name));
    let mut table = out::table([if several { "fold at instance" } else { "fold" }, "rows", "records", "digest", "compared", "verdict"]);
    for fold in &result.folds {
        let Fold { verdict, .. } = fold;
        let said = match &verdict.wrong {
            _ if verdict.matches() => "same",
            Some(_) if verdict.live == verdict.rebuilt => "PROVES NOTHING",
            _ => "DIFFERS",
        };
        let compared = if verdict.full { "all, from zero" } else { "since the last proof" };
        table.add_row([&named(fold), &verdict.rows.to_string(), &verdict.records.to_string(), &verdict.live[..16.min(verdict.live.len())], compared, said]);
    }
    out::line(table);
    for fold in &result.folds {
        fold.verdict.wrong.iter().for_each(|why| out::line(format!("{}: {why}", named(fold))));
        for difference in &fold.verdict.differences {
            let shown = |row: &Option<String>| row.as_deref().unwrap_or("(no such row)").to_owned();
            out::line(format!("{}: key {}\n  live     {}\n  rebuilt  {}", named(fold), difference.key, shown(&difference.live), shown(&difference.rebuilt)));
        }
    }
    out::line(match result {
        Result { matches: true, folds, .. } if folds.iter().any(|fold| !fold.verdict.full) => {
            "Every fold equals its fold from zero: some as they were proven before and folded further since (--full folds all of it again)."
        }
        Result { matches: true, .. } => "Every fold equals its fold from zero.",
        Result { folds, .. } if folds.iter().all(|fold| fold.verdict.matches()) => {
            "Every fold that was looked at equals its fold from zero; not every instance was."
        }
        _ => {
            "Not every fold is what the log says: see above. Where rows differ: stop, keep a copy of the directory, move the fold's directory aside, and start: it is folded anew."
        }
    });
}
