//! What became of every line: the report for people and programs, and the sums that must agree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use domain::{Currency, Money};
use serde::Serialize;
use serde_json::{Value, json};

use super::became::Became;
use super::dates::AMBIGUOUS;
use super::lines::{EXPECTED, Line, UNMATCHED};
use super::made::{Made, OTHERWISE};
use super::placed::{Extra, NOT_IN_ORDER, OTHER_TIME};
use daybook::args::Output;
use daybook::out;

/// Why a line was not got to.
const ABORTED: &str = "import_aborted";
/// What an order has besides is named so far.
const NAMED_MAX: usize = 20;

/// One line of the report.
#[derive(Serialize)]
struct Fate<'a> {
    line: u64,
    invoice: &'a str,
    stock_code: &'a str,
    status: &'static str,
    reason: String,
    amount: String,
    order: &'a str,
}

/// All lines and the sums.
pub struct Report<'a> {
    fates: Vec<Fate<'a>>,
    refused_by_reason: BTreeMap<String, u64>,
    goods_total: Money,
    orders_total: Money,
    orders: usize,
    refunds: u64,
    refunds_total: Money,
    /// with what the orders have besides
    orders_refunds_total: Money,
    /// what orders have that the file has not
    extra: Vec<&'a Extra>,
    /// and what they have of refunds
    besides: &'a [Made],
    /// lines of which not one is a sale, where some should have been
    no_sale: bool,
    /// all was asked that was to be asked
    whole: bool,
}

impl<'a> Report<'a> {
    /// Of these lines and what became of them.
    pub fn of(lines: &'a [Line], became: &'a Became, currency: Currency) -> anyhow::Result<Self> {
        let zero = Money::zero(currency);
        let placed = || became.invoices.values().filter_map(|became| became.as_ref().ok());
        let mut report = Self {
            fates: vec![],
            refused_by_reason: BTreeMap::new(),
            goods_total: zero,
            orders_total: zero,
            orders: placed().count(),
            refunds: 0,
            refunds_total: zero,
            orders_refunds_total: zero,
            extra: became.compared.values().flat_map(|compared| &compared.extra).collect(),
            besides: &became.refunds.besides,
            no_sale: false,
            whole: became.whole,
        };
        for line in lines {
            let amount = line.amount.map(|amount| amount.to_string()).unwrap_or_default();
            let mut fate =
                Fate { line: line.number, invoice: &line.invoice, stock_code: &line.code, status: "refused", reason: String::new(), amount, order: "" };
            match report.fate(line, became, &mut fate) {
                Ok(()) => {}
                Err(reason) => {
                    *report.refused_by_reason.entry(reason.clone()).or_default() += 1;
                    fate.reason = reason;
                }
            }
            report.fates.push(fate);
        }
        // An order in other money has none of the file's lines, each of which says so.
        for order in placed().filter(|order| order.paid() && order.currency == currency.code()) {
            report.orders_total = report.orders_total.plus(Money::parse(&order.total, currency)?)?;
        }
        report.orders_refunds_total = report.refunds_total;
        for made in report.besides.iter().filter(|made| made.currency == currency.code()) {
            report.orders_refunds_total = report.orders_refunds_total.plus(Money::parse(&made.amount, currency)?)?;
        }
        let cancellation = |line: &Line| line.returned.is_some() || matches!(line.sale, Err(UNMATCHED));
        let only_cancellations = lines.iter().all(Line::cancels) && lines.iter().any(cancellation);
        report.no_sale = became.whole && !lines.is_empty() && !only_cancellations && report.accepted() == 0;
        Ok(report)
    }

    /// Adds what an accepted line or a refunded cancellation is, or says why it is neither.
    fn fate(&mut self, line: &Line, became: &'a Became, fate: &mut Fate<'a>) -> Result<(), String> {
        if line.returned.is_some() {
            let none = || Err(if became.whole { UNMATCHED } else { ABORTED }.to_owned());
            let (order, amount) = became.refunds.lines.get(&line.number).map_or_else(none, |refunded| refunded.as_ref().map_err(Clone::clone))?;
            self.refunds_total = self.refunds_total.plus(*amount).map_err(|why| why.to_string())?;
            self.refunds += 1;
            (fate.status, fate.order, fate.amount) = ("refunded", order, amount.to_string());
            return Ok(());
        }
        let sale = line.sale.as_ref().map_err(|reason| (*reason).to_owned())?;
        if let Some(why) = became.products.get(&sale.product).or_else(|| became.customers.get(&sale.customer)) {
            return Err(why.clone());
        }
        let order = became.invoices.get(&sale.invoice).ok_or(ABORTED)?.as_ref().map_err(Clone::clone)?;
        fate.order = &order.id;
        became.compared.get(&sale.invoice).and_then(|compared| compared.lines.get(&line.number)).ok_or(ABORTED)?.as_ref().map_err(Clone::clone)?;
        self.goods_total = sale.price.times(sale.quantity).and_then(|amount| self.goods_total.plus(amount)).map_err(|why| why.to_string())?;
        fate.status = "accepted";
        Ok(())
    }

    /// Whether the file's owner wants to know of something: a line that should have been a sale and is none, or orders
    /// that are not what the file says.
    pub fn has_findings(&self) -> bool {
        self.findings() > 0 || self.no_sale || !self.extra.is_empty() || self.orders_total != self.goods_total || !self.besides.is_empty()
    }

    fn accepted(&self) -> usize {
        self.fates.iter().filter(|fate| fate.status == "accepted").count()
    }

    /// Lines to look at: where nothing was a sale, there is no reason that was to be expected.
    fn findings(&self) -> u64 {
        self.refused_by_reason.iter().filter(|(reason, _)| self.no_sale || !EXPECTED.contains(&reason.as_str())).map(|(_, count)| count).sum()
    }

    /// Says what the owner can do, where something can be done.
    pub fn advise(&self) {
        let refused = |reason: &str| self.refused_by_reason.get(reason).copied().unwrap_or_default();
        for (reason, advice) in [
            (AMBIGUOUS, "could be of two days, and no date of the file proves which: say --date-format month-first or day-first"),
            ("malformed_encoding", "are no text in this encoding: name the file's with --encoding, windows-1252 for instance"),
            ("unclosed_quote", "have a quote that is not closed; the lines after each were read as lines of their own"),
            (NOT_IN_ORDER, "are not in the order that their invoice has: it was imported before with other lines"),
            (OTHER_TIME, "are of an invoice that has its order, at another time: its number was used before, or its dates were read in another way"),
            (OTHERWISE, "are of a cancellation that was refunded before, with other pieces: they were not refunded again"),
        ] {
            match refused(reason) {
                0 => {}
                count => out::note(format!("{count} lines {advice}")),
            }
        }
        for Extra { order, product, price, quantity } in self.extra.iter().take(NAMED_MAX) {
            out::note(format!("order {order} has {quantity} of product {product} at {price} that the file has not"));
        }
        for Made { order, reference, amount, .. } in self.besides.iter().take(NAMED_MAX) {
            out::note(format!("order {order} has refund {reference} of {amount} that the file has not"));
        }
        match self.extra.len().saturating_sub(NAMED_MAX) + self.besides.len().saturating_sub(NAMED_MAX) {
            0 => {}
            more => out::note(format!("and {more} more of that kind")),
        }
        for (what, orders, lines) in [("", self.orders_total, self.goods_total), ("refunds of ", self.orders_refunds_total, self.refunds_total)] {
            if orders != lines {
                out::note(format!("the {what}orders add up to {orders}, the accepted lines to {lines}"));
            }
        }
    }

    /// Prints the summary.
    pub fn print(&self, output: Output, file: &Path, took: Duration) {
        let refused: u64 = self.refused_by_reason.values().sum();
        // Charges that are no goods are refused with their reason, so nothing else is accepted.
        let other_total = Money::zero(self.goods_total.currency);
        let extra = |Extra { order, product, price, quantity }: &Extra| json!({ "order": order, "product": product, "price": price, "quantity": quantity });
        let refund = |Made { order, reference, amount, .. }: &Made| json!({ "order": order, "reference": reference, "amount": amount });
        let mut rows = vec![
            ("lines", json!(self.fates.len())),
            ("accepted", json!(self.accepted())),
            ("refunded", json!(self.refunds)),
            ("refused", json!(refused)),
            ("orders", json!(self.orders)),
            ("goods_total", json!(self.goods_total.to_string())),
            ("other_total", json!(other_total.to_string())),
            ("accepted_total", json!(self.goods_total.to_string())),
            ("orders_total", json!(self.orders_total.to_string())),
            ("refunds_total", json!(self.refunds_total.to_string())),
            ("orders_refunds_total", json!(self.orders_refunds_total.to_string())),
            ("to_look_at", json!(self.findings())),
            ("not_in_file", json!(self.extra.len())),
            ("refunds_not_in_file", json!(self.besides.len())),
            ("whole", json!(self.whole)),
        ];
        if self.no_sale {
            rows.push(("no_sale", json!(format!("not one of the file's {} lines was accepted as a sale", self.fates.len()))));
        }
        match output {
            Output::Json => {
                rows.extend([
                    ("refused_by_reason", json!(self.refused_by_reason)),
                    ("not_in_file", self.extra.iter().map(|each| extra(each)).collect()),
                    ("refunds_not_in_file", self.besides.iter().map(refund).collect()),
                    ("currency", json!(self.goods_total.currency.code())),
                    ("seconds", json!(took.as_secs_f64())),
                    ("report", json!(file.display().to_string())),
                ]);
                let object: serde_json::Map<String, Value> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                out::line(format_args!("{:#}", Value::Object(object)));
            }
            Output::Table => {
                rows.extend([("seconds", json!(format!("{:.1}", took.as_secs_f64()))), ("report", json!(file.display().to_string()))]);
                let mut table = out::bare();
                let rows = rows.into_iter().map(|(name, value)| (name.replace('_', " "), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
                let reasons = self.refused_by_reason.iter().map(|(reason, count)| (format!("refused: {reason}"), count.to_string()));
                table.add_rows(rows.chain(reasons).map(|(name, value)| [name, value]));
                out::line(table);
            }
        }
    }
}

/// Where a report goes.
pub struct Target {
    file: PathBuf,
}

impl Target {
    /// To this file.
    pub fn of(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    fn dir(&self) -> &Path {
        self.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Whether a report can be written there without harm to the file that is read.
    pub fn fit(&self, input: &Path) -> Result<(), String> {
        let input = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
        // Standard input may be a file, and a file may have many names.
        let file = |path: &Path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| (file.dev(), file.ino()));
        if file(input).is_some_and(|input| file(&self.file) == Some(input)) {
            return Err("that is the file to import: name another".to_owned());
        }
        if self.file.is_dir() || !self.dir().is_dir() {
            return Err("no file can be written there".to_owned());
        }
        Ok(())
    }

    /// Writes it, whole or not at all. A device or a pipe is written to as it is.
    pub fn write(&self, report: &Report<'_>) -> anyhow::Result<()> {
        let context = || format!("report {}", self.file.display());
        let mut writer = csv::Writer::from_writer(vec![]);
        report.fates.iter().try_for_each(|fate| writer.serialize(fate))?;
        let bytes = writer.into_inner().map_err(|why| anyhow::anyhow!("{why}")).with_context(context)?;
        if self.file.exists() && !self.file.is_file() {
            return File::options().write(true).open(&self.file).and_then(|mut file| file.write_all(&bytes)).with_context(context);
        }
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let new = self.dir().join(format!(".{name}.{}.new", std::process::id()));
        let whole = File::create_new(&new).and_then(|mut file| file.write_all(&bytes)).and_then(|()| std::fs::rename(&new, &self.file));
        if whole.is_err() {
            let _gone = std::fs::remove_file(&new);
        }
        whole.with_context(context)
    }
}
