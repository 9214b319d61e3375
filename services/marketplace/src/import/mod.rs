//! `daybook import`: a shop's order history becomes commands, through the public routes only, with their historical
//! times. Every line is accounted for; running it again goes on where it stopped, and changes nothing once it is done.
//!
//! What keeps a repeat from doubling anything is natural, not a window of time: products and customers are what they
//! are, an invoice that has its order is held against it and not sent again, an order brings its pieces itself, and a
//! cancellation is known by its invoice and stock code.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::{Currency, ID_MAX};

use daybook::args::{Output, Target};
use daybook::out;

mod became;
mod client;
mod dates;
mod encoding;
mod lines;
mod made;
mod placed;
mod refunds;
mod report;
mod table;
mod work;

use became::Became;
use client::Marketplace;
use dates::{Format, Zone};
use encoding::Encoding;
use lines::{Line, Reading, Sale};
use report::{Report, Target as ReportTarget};
use table::Delimiter;
use work::Work;

/// What to import.
#[derive(clap::Args)]
pub struct Args {
    /// The history: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country; `-` reads standard input
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Where every line's fate is written, as CSV
    #[arg(long, value_name = "FILE", default_value = "import-report.csv")]
    report: PathBuf,
    /// Whose products these are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=ID_MAX))]
    seller: u64,
    /// The currency of the file's prices
    #[arg(long, default_value = "GBP")]
    currency: Currency,
    /// What separates columns: one sign, or 'tab'; found out from the first line
    #[arg(long, value_name = "SIGN")]
    delimiter: Option<Delimiter>,
    /// utf-8, windows-1252, iso-8859-1 or utf-16; UTF-8 unless the first bytes say UTF-16
    #[arg(long)]
    encoding: Option<Encoding>,
    /// Where times without an offset were read: Europe/London, +01:00
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true)]
    time_zone: Zone,
    /// month-first, day-first, rfc3339, or a pattern such as '%d.%m.%Y %H:%M'; found out from all dates, where they prove it
    #[arg(long, value_name = "FORMAT")]
    date_format: Option<Format>,
    /// How long a marketplace that cannot be reached is waited for
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = daybook::args::span)]
    give_up: Duration,
    /// How the summary is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// Runs the import.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (began, target) = (Instant::now(), ReportTarget::of(&args.report));
    if let Err(why) = target.fit(&args.file) {
        out::note(format!("daybook: --report {}: {why}", args.report.display()));
        return Ok(ExitCode::from(2));
    }
    let reading = Reading {
        delimiter: args.delimiter,
        encoding: args.encoding,
        dates: args.date_format,
        zone: args.time_zone,
        currency: args.currency,
        seller: args.seller,
    };
    let lines = lines::read(&bytes(&args.file)?, &reading).map_err(|why| anyhow::anyhow!("{}: {why}", args.file.display()))?;
    let mut became = Became::default();
    let work = Work::at(Marketplace::at(&args.target.url, args.give_up), args.seller);
    let done = everything(&work, &lines, args.currency, &mut became).await;
    work.done();
    became.whole = done.is_ok();
    let report = Report::of(&lines, &became, args.currency)?;
    target.write(&report)?;
    report.print(args.output, &args.report, began.elapsed());
    report.advise();
    done.with_context(|| format!("the import did not get to its end ({} says how far): run it again, and it goes on where it stopped", args.report.display()))?;
    Ok(if report.has_findings() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![];
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("order history {}", file.display()))?;
    }
    Ok(bytes)
}

async fn everything(work: &Work, lines: &[Line], currency: Currency, became: &mut Became) -> anyhow::Result<()> {
    became.products = work.products(lines).await?;
    became.customers = work.customers(lines).await?;
    work.until_bound(lines, &became.products).await?;
    let mut invoices: BTreeMap<u64, Vec<Vec<Sale>>> = BTreeMap::new();
    for sale in work::sales(lines).filter(|sale| !became.products.contains_key(&sale.product) && !became.customers.contains_key(&sale.customer)) {
        let invoices = invoices.entry(sale.customer).or_default();
        match invoices.iter_mut().find(|lines| lines.first().is_some_and(|first| first.invoice == sale.invoice)) {
            Some(lines) => lines.push(sale.clone()),
            None => invoices.push(vec![sale.clone()]),
        }
    }
    let placed = work.orders(invoices, &mut became.invoices).await;
    became.compare(lines, work.seller, currency);
    placed?;
    let (orders, stands) = (became.orders(), became.stands(lines));
    work.refunds(lines, orders, &stands, currency, &mut became.refunds).await
}
